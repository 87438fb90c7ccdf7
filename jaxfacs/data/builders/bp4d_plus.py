"""BP4D+ (Zhang et al. 2016): 140 people in 10 tasks, of which T1, T6, T7 and T8 are AU-coded.

Layout and values (ubicomplab/rPPG-Toolbox: dataset/data_loader/BP4DPlusBigSmallLoader.py):
`AUCoding/AU_OCC/F001_T1.csv`, `AUCoding/AU_INT/AU06/F001_T1_AU06.csv` and pictures
`2D+3D/F001/T1/*.jpg`, packed one zip a person. The files are those of BP4D (see `bp4d`), with 34
AUs named in a header whose first cell is 1 too. Films `F001_T1.mp4` circulate as well
(forever208/FMAE-IAT, branch BP4D_and_BP4Dplus). Of F041's T7, pictures and labels do not end
together: frames without a picture are listed and left out, as everywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxfacs.data import splits
from jaxfacs.data.builders import bp4d, reading
from jaxfacs.data.delivery import Builder, Delivery, Known, with_aus
from jaxfacs.errors import UserError

# forever208/FMAE-IAT: README.md; fold k tests these and trains on the rest. Papers' lists differ.
FOUR_FOLD = {
    "fold1": (
        "M040 F072 M015 M029 M003 F076 F053 F026 F044 F066 F057 F061 F071 M050 M033 F079 F020 M025 "
        "F014 F004 F013 M017 F033 M042 M004 F038 F019 M036 M026 M048 F039 F046 M051 F047 M020"
    ).split(),
    "fold2": (
        "F074 F012 F034 M001 F056 F075 M009 M038 F024 M047 F016 M045 M034 M022 F060 M011 M044 M046 "
        "M005 M028 F077 F028 M055 M019 F032 F030 M037 M043 F031 F022 M023 M018 M016 F065 M052"
    ).split(),
    "fold3": (
        "F029 F054 F064 F045 F009 F040 F008 M041 F063 M056 M024 F001 F080 M010 F062 F035 M054 F052 "
        "F027 F043 F042 F050 M057 F078 F058 F017 M035 M030 M027 F021 M031 F069 F002 M008 F068"
    ).split(),
    "fold4": (
        "M058 F037 F010 F023 M007 M002 F025 F073 F048 F041 F051 F011 M032 F005 M021 F018 M013 M049 "
        "M014 F070 F006 F067 M039 M006 F059 F003 F007 F049 M053 F081 F055 M012 F082 F015 F036"
    ).split(),
}
PEOPLE = frozenset(subject for fold in FOUR_FOLD.values() for subject in fold)
CODED_TASKS = frozenset({"T1", "T6", "T7", "T8"})


@dataclass(frozen=True)
class Options:
    """What can be chosen for BP4D+.

    Attributes:
      protocol: fold1 … fold4 of FMAE-IAT (each tests 35 people); subjects: dealt out.
      aus: all that are coded, the 12 of BP4D's occurrence protocol, or the 5 with intensity.
    """

    protocol: Literal["fold1", "fold2", "fold3", "fold4", "subjects"] = "fold1"
    aus: Literal["all", "occurrence", "intensity"] = "all"


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "AUCoding", "AU_OCC", title="BP4D+")
    coding = bp4d.coded_tasks(source, title="BP4D+")
    people = {subject for subject, _ in coding.tasks}
    if strangers := sorted(people - PEOPLE):
        raise UserError(
            f"{source} holds {', '.join(strangers[:3])}, who is not among the 140 people of BP4D+; "
            "jaxfacs data build eb_plus reads the expanded set"
        )
    others = sorted({task for _, task in coding.tasks} - CODED_TASKS)
    if others and people <= set(bp4d.PEOPLE):
        raise UserError(
            f"{source} holds labels of {', '.join(others)}, which BP4D+ does not code, and only "
            "people of BP4D's numbers; jaxfacs data build bp4d reads BP4D"
        )
    split_of = (
        None if options.protocol == "subjects" else splits.part_tested(FOUR_FOLD, options.protocol)
    )
    recordings = bp4d.recordings_of(source, coding, split_of=split_of)
    delivery = bp4d.delivery_of(source, coding, recordings)
    return with_aus(delivery, bp4d.AUS[options.aus])


BUILDER = Builder(
    name="bp4d_plus",
    title="BP4D+",
    task="spontaneous AUs in films of 4 of 10 tasks",
    labels="AU occurrence by frame; intensity of 6, 10, 12, 14 and 17",
    subjects=140,
    licence="signed agreement with Binghamton University; research only",
    obtain="request by a faculty member: cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    citation="Zhang et al., Multimodal Spontaneous Emotion Corpus, CVPR 2016, 3438-3446",
    read=read,
    options=Options,
    layout="AUCoding/AU_OCC/F001_T1.csv, AUCoding/AU_INT files, 2D+3D/F001/T1/*.jpg unpacked",
    # Its F001 is not BP4D's F001. The people of FERA 2017's validation films are among these.
    people="bp4d_plus",
    overlaps=("eb_plus", "fera2017"),
    known=(
        Known(
            "FMAE-IAT, README and AU/BP4D_plus_preprocess.py", {"subjects": 140, "frames": 197756}
        ),
    ),
)
