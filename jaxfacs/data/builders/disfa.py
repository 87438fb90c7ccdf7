"""DISFA (Mavadati et al. 2013): 27 people watch one film of four minutes, 12 AUs graded 0-5.

Layout and values: `ActionUnit_Labels/SN001/SN001_au1.txt` has a row a frame, "frame,intensity",
without a header, the first frame being 1 (CVI-SZU/ME-GraphAU: tool/DISFA_image_label_process.py).
Films of two cameras are in `Video_LeftCamera/LeftVideoSN001_comp.avi` and its like; papers take
their frames out as `SN001/0.png`, where the label's frame 1 is picture 0. SN010 has 4,844 labelled
frames, all others 4,845. A film may hold one more or less than that.

Landmarks are a .mat file a frame, `Landmark_Points/SN001/tmp_frame_lm/SN001_0000_lm.mat`, variable
`pts`, 66 points in the order of iBUG 68 without the inner corners of the mouth
(ZhiwenShao/PyTorch-JAANet: dataset/read_disfa_49land.py drops the first 17, the jaw). Some people's
are numbered from 0, some from 1, single ones are missing (OpenFace: data extraction for DISFA).
They are taken for MATLAB's pixels, the middle of the first being (1, 1); no source says so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import splits
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Film,
    Known,
    LeftOut,
    Pictures,
    Recording,
    with_aus,
)
from jaxfacs.errors import UserError

# CVI-SZU/ME-GraphAU: tool/DISFA_image_label_process.py; the lists of JAA-Net, MDHR and FMAE-IAT
# (there numbered 1, 2, 3 for part 1, 2, 3) are the same.
PARTS = {
    "part1": "SN002 SN010 SN001 SN026 SN027 SN032 SN030 SN009 SN016".split(),
    "part2": "SN013 SN018 SN011 SN028 SN012 SN006 SN031 SN021 SN024".split(),
    "part3": "SN003 SN029 SN023 SN025 SN008 SN005 SN007 SN017 SN004".split(),
}
TESTED = {"fold1": "part3", "fold2": "part2", "fold3": "part1"}
# CVI-SZU/ME-GraphAU: OpenGraphAU/tool/dataset_process.py; it counts from intensity 1.
OPENGRAPHAU = {
    "train": (
        "SN002 SN010 SN027 SN032 SN030 SN009 SN016 SN013 SN018 SN011 SN028 SN024 SN003 SN029"
    ).split(),
    "validation": "SN012 SN006 SN031 SN021".split(),
    "test": "SN023 SN025 SN008 SN005 SN007 SN017 SN004 SN001 SN026".split(),
}
# The frames, from 0 and with both ends, that are not in ZhiwenShao/PyTorch-JAANet:
# data/list/DISFA_part1_path.txt to part3; 126,144 remain. Nobody says why these.
JAANET_DROPS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "SN001": ((397, 419), (3189, 3242)),
    "SN002": ((799, 825),),
    "SN004": ((4540, 4554),),
    "SN006": ((1348, 1404),),
    "SN009": ((1735, 1807), (1850, 1884)),
    "SN011": ((4528, 4532), (4829, 4844)),
    "SN021": (
        *((573, 615), (984, 1163), (1189, 1204), (1304, 1337), (1664, 1709), (1861, 2476)),
        *((2553, 4656), (4709, 4721)),
    ),
    "SN023": (
        *((1020, 1048), (3377, 3556), (3583, 3667), (4546, 4620), (4740, 4771), (4824, 4844)),
    ),
    "SN025": ((4595, 4661), (4815, 4834)),
    "SN027": ((3460, 3493), (4737, 4784)),
    "SN028": ((1874, 1884), (4570, 4689)),
    "SN029": ((4089, 4542),),
    "SN030": ((938, 961), (1405, 1421), (2099, 2131), (2892, 2954)),
}
AUS = {"all": facs.DATASET_AUS["disfa"], "occurrence": facs.DATASET_AUS["disfa_8"]}
PICTURE_FOLDERS = ("", "Images", "images", "image", "img", "frames", "Video_{side}Camera_frames")
FPS = 20.0  # of a public reader; no file of the delivery says so
MAT_BYTES = 1 << 16  # 66 points take 1.3 KB; a small file cannot unpack to much


@dataclass(frozen=True)
class Options:
    """What can be chosen for DISFA.

    Attributes:
      protocol: fold1, fold2, fold3 of ME-GraphAU (the common ones); opengraphau; subjects: dealt
        out.
      camera: left is what most papers use; FMAE-IAT takes the right one.
      aus: all 12 that are coded, or the 8 of the occurrence protocol.
      present_from: intensity from which an AU counts as present; 2 as ME-GraphAU and most papers,
        1 as OpenGraphAU.
      frames_of: all that are labelled, or those 126,144 that JAA-Net uses.
      landmarks: read the owners' landmarks, where they are there; a minute or two.
    """

    protocol: Literal["fold1", "fold2", "fold3", "opengraphau", "subjects"] = "fold1"
    camera: Literal["left", "right"] = "left"
    aus: Literal["all", "occurrence"] = "all"
    present_from: Literal[1, 2, 3, 4, 5] = 2
    frames_of: Literal["all", "jaanet"] = "all"
    landmarks: bool = True


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "ActionUnit_Labels", title="DISFA")
    files = _label_files(source)
    split_of = _split_of(options.protocol)
    shown = _shown(source, list(files), options.camera)
    recordings: list[Recording] = []
    inputs: list[Path] = []
    left_out: list[LeftOut] = []
    notes = list(shown.notes)
    for subject, paths in files.items():
        if split_of is not None and subject not in split_of:
            notes.append(f"{subject} is in no part of protocol {options.protocol}; left away")
            continue
        for au in AUS["all"]:
            if au not in paths:
                name = f"ActionUnit_Labels/{subject}/{subject}_au{au}.txt"
                left_out.append(LeftOut(name, None, "missing"))
        numbers_T, intensity_TA = graded(paths, AUS["all"])
        kept_T = _kept(subject, numbers_T, options.frames_of)
        numbers_T, intensity_TA = numbers_T[kept_T], intensity_TA[kept_T]
        inputs += paths.values()
        landmarks_TK2 = None
        if options.landmarks:
            landmarks_TK2, read_files = _landmarks(source, subject, numbers_T, notes)
            inputs += read_files
        recordings.append(
            Recording(
                name=subject,
                subject=subject,
                frames=shown.frames(subject, numbers_T.tolist()),
                occurrence_TA=present(intensity_TA, options.present_from),
                intensity_TA=intensity_TA,
                place_T=numbers_T,
                landmarks_TK2=landmarks_TK2,
                fps=FPS,
                split=None if split_of is None else split_of[subject],
            )
        )
    delivery = Delivery(
        recordings, aus=AUS["all"], inputs=inputs, left_out=left_out, notes=notes, root=source
    )
    return with_aus(delivery, AUS[options.aus])


def present(intensity_TA: np.ndarray, least: int) -> np.ndarray:
    """int8 occurrence: present from intensity `least` on; −1 where the intensity is unknown."""
    return np.where(intensity_TA < 0, -1, intensity_TA >= least).astype(np.int8)


def graded(paths: Mapping[str, Path], aus: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and float32 intensity_TA of one person's files, AU -> file.

    A frame that one AU's file lacks is unknown there. Raises UserError for a damaged file.
    """
    columns = {au: _column(path) for au, path in paths.items()}
    numbers = sorted(set().union(*columns.values()))
    intensity_TA = np.full((len(numbers), len(aus)), -1, np.float32)
    for au, column in columns.items():
        intensity_TA[:, aus.index(au)] = [column.get(number, -1) for number in numbers]
    return np.array(numbers), intensity_TA


def _column(path: Path) -> dict[int, float]:
    table = reading.table(path, header=False)
    number_T = reading.frame_numbers(table)
    if number_T[0] < 1:
        raise UserError(f"{path}, line {table.rows[0][0]}: frames should count from 1")
    grade_T = reading.intensity(table.numbers((1,))[:, 0])
    return dict(zip(number_T.tolist(), grade_T.tolist(), strict=True))


def _label_files(source: Path) -> dict[str, dict[str, Path]]:
    """subject -> AU -> file; some deliveries have a second folder of the same name inside."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((source / "ActionUnit_Labels").rglob("*.txt")):
        match = re.fullmatch(r"(SN\d{3})_au(\d+)", path.stem, re.IGNORECASE)
        if match is None or match[2] not in AUS["all"]:
            continue
        files = found.setdefault(match[1].upper(), {})
        if match[2] in files:
            raise UserError(f"{path} and {files[match[2]]} hold the same labels; remove one")
        files[match[2]] = path
    if not found:
        raise UserError(
            f"{source / 'ActionUnit_Labels'} has no file like SN001/SN001_au1.txt; "
            "unpack ActionUnit_Labels.zip there"
        )
    return dict(sorted(found.items()))


def _kept(subject: str, numbers_T: np.ndarray, frames_of: str) -> np.ndarray:
    kept_T = np.ones(len(numbers_T), bool)
    if frames_of == "jaanet":
        for first, last in JAANET_DROPS.get(subject, ()):
            kept_T &= (numbers_T - 1 < first) | (numbers_T - 1 > last)
    return kept_T


@dataclass(frozen=True)
class _Shown:
    """Where the pictures of each person are.

    Attributes:
      source: the delivery.
      camera: "left" or "right".
      films, folders: subject -> film, or folder of numbered pictures.
      first: number of the picture that label 1 belongs to.
      notes: for the person.
    """

    source: Path
    camera: str
    films: Mapping[str, Path]
    folders: Mapping[str, Path] = field(default_factory=dict)
    first: int = 0
    notes: tuple[str, ...] = ()

    def frames(self, subject: str, numbers: Sequence[int]) -> Film | Pictures:
        """The frames with these labels' numbers, which count from 1."""
        if subject in self.folders:
            wanted = [number - 1 + self.first for number in numbers]
            return Pictures(reading.pictures_of(self.source, self.folders[subject], wanted))
        side = self.camera.capitalize()
        usual = self.source / f"Video_{side}Camera" / f"{side}Video{subject}_comp.avi"
        film = self.films.get(subject, usual)
        return Film(reading.relative(self.source, film), tuple(n - 1 for n in numbers))


def _shown(source: Path, subjects: Sequence[str], camera: str) -> _Shown:
    stems = reading.files_by_stem(source, reading.FILMS)
    films = {
        side: {s: path for s in subjects if (path := stems.get(f"{side}video{s.lower()}_comp"))}
        for side in ("left", "right")
    }
    if films[camera]:
        return _Shown(source, camera, films[camera])
    folders = {s: folder for s in subjects if (folder := _folder(source, s, camera.capitalize()))}
    if not folders:
        other = {"left": "right", "right": "left"}[camera]
        if films[other]:
            raise UserError(
                f"{source} has films of the {other} camera alone; give --camera {other}"
            )
        return _Shown(source, camera, {})
    zero = any(0 in reading.numbered(folder) for folder in folders.values())
    note = (
        f"no films of the {camera} camera; pictures in folders like "
        f"{reading.relative(source, next(iter(folders.values())))} were taken, "
        f"numbered from {0 if zero else 1}, whichever camera they show"
    )
    return _Shown(source, camera, {}, folders, 0 if zero else 1, (note,))


def _folder(source: Path, subject: str, side: str) -> Path | None:
    for top in PICTURE_FOLDERS:
        for name in (subject, f"{side}Video{subject}_comp"):
            folder = source / top.format(side=side) / name
            if reading.numbered(folder):
                return folder
    return None


def _landmarks(
    source: Path, subject: str, numbers_T: np.ndarray, notes: list[str]
) -> tuple[np.ndarray | None, list[Path]]:
    """float32 T×66×2 of the frames with labels `numbers_T`, NaN where none is, and the files."""
    top = source / "Landmark_Points"
    if not (top / subject).is_dir():
        top /= "Landmark_Points"  # a second folder of the same name inside
    files: dict[int, Path] = {}
    for path in sorted((top / subject).rglob("*.mat")):
        if not path.name.startswith("."):
            files[reading.number_of(path)] = path
    if not files:
        if any((top / subject).rglob("*.zip")):
            notes.append(f"{subject}: landmarks are still in a .zip; unpack it to use them")
        return None, []
    first = min(files)
    if first not in (0, 1):
        notes.append(f"{subject}: landmarks begin at {files[first].name}, not at 0 or 1; not used")
        return None, []
    out = np.full((len(numbers_T), 66, 2), np.nan, np.float32)
    used, bad = [], []
    for row, number in zip(out, numbers_T.tolist(), strict=True):
        path = files.get(number - 1 + first)
        if path is None:
            continue
        used.append(path)
        points = _points(path)
        if points is None:
            bad.append(path.name)
        else:
            row[:] = points
    if bad:
        notes.append(f"{subject}: {len(bad)} landmark files cannot be read, the first {bad[0]}")
    if len(used) < len(numbers_T):
        notes.append(f"{subject}: {len(numbers_T) - len(used)} frames have no landmark file")
    return out, used


def _points(path: Path) -> np.ndarray | None:
    """66×2 points of a .mat file in our pixels; None where it holds something else."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(
            "landmarks of DISFA need scipy: pip install 'jaxfacs[datasets]', or --no-landmarks"
        ) from error
    if path.stat().st_size > MAT_BYTES:
        return None
    try:
        points = np.asarray(loadmat(path, variable_names=["pts"])["pts"], np.float64)
    except Exception:  # scipy lets whatever a damaged file provokes through
        return None
    return points - 0.5 if points.shape == (66, 2) and np.isfinite(points).all() else None


def _split_of(protocol: str) -> dict[str, str] | None:
    if protocol == "subjects":
        return None
    if protocol == "opengraphau":
        return {s: split for split, people in OPENGRAPHAU.items() for s in people}
    return splits.part_tested(PARTS, TESTED[protocol])


# fold -> frames of its test people, and those in which each of the 8 AUs is present (intensity 2 or
# more). Counted in CVI-SZU/MDHR: data/DISFA_dataset/DISFA_test_label_fold*.txt; the class weights
# that follow are ME-GraphAU's own (data/DISFA/list/DISFA_weight_fold*.txt) to six digits.
COUNTED = {
    "fold1": (43605, (3198, 3640, 8161, 4409, 2968, 6161, 12191, 2508)),
    "fold2": (43605, (1469, 879, 6653, 3558, 1287, 6187, 13206, 4123)),
    "fold3": (43604, (1839, 1125, 5119, 2360, 1218, 4503, 10850, 4902)),
}


def _known() -> tuple[Known, ...]:
    usual = {"present_from": 2, "frames_of": "all"}
    source = "counted in the label lists of CVI-SZU/MDHR, data/DISFA_dataset"
    folds = [
        Known(
            source,
            {
                "frames/test": frames,
                **{f"AU{au}/test": n for au, n in zip(AUS["occurrence"], positives, strict=True)},
            },
            when={**usual, "protocol": fold},
        )
        for fold, (frames, positives) in COUNTED.items()
    ]
    positives = np.sum([row for _, row in COUNTED.values()], axis=0).tolist()
    counts = {f"AU{au}": n for au, n in zip(AUS["occurrence"], positives, strict=True)}
    return (
        Known(source, {"subjects": 27, "frames": 130814, **counts}, when=usual),
        *folds,
        Known(
            "frames counted in the lists of ZhiwenShao/PyTorch-JAANet, data/list",
            {"subjects": 27, "frames": 126144},
            when={"frames_of": "jaanet"},
        ),
    )


BUILDER = Builder(
    name="disfa",
    title="DISFA",
    task="spontaneous AUs and their intensity while watching a film",
    labels="intensity 0-5 of 12 AUs by frame; 66 landmarks",
    subjects=27,
    licence="signed agreement with the University of Denver; research only",
    obtain="request form by faculty: mohammadmahoor.com/disfa-contact-form",
    citation="Mavadati et al., DISFA, IEEE Trans. Affective Computing 4 (2013) 151-160",
    read=read,
    options=Options,
    layout="ActionUnit_Labels/SN001/SN001_au1.txt, Video_LeftCamera/LeftVideoSN001_comp.avi or "
    "SN001/0.png, Landmark_Points/SN001",
    people="disfa",
    known=_known(),
)
