"""Which AUs each public dataset, challenge or toolkit codes, in its own order."""


def _labels(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_DISFA_12 = _labels("1 2 4 5 6 9 12 15 17 20 25 26")
_OPENFACE_R = _labels("1 2 4 5 6 7 9 10 12 14 15 17 20 23 25 26 45")
_OPENGRAPHAU_27 = _labels(
    "1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 19 20 22 23 24 25 26 27 32 38 39"
)
_OPENGRAPHAU_SIDED = tuple(s + a for a in _labels("1 2 4 6 10 12 14") for s in "LR")
_BP4D_INTENSITY = _labels("6 10 12 14 17")

# MMI is absent: it codes the whole of FACS; what is known of the 37 labels of Bocklisch et al. 2015
# is with its builder. Labels are strings of FACS numbers; "L" and "R" are the person's.
DATASET_AUS: dict[str, tuple[str, ...]] = {
    # Occurrence protocol of 12 AUs (ME-GraphAU, tool/BP4D_image_label_process.py); BP4D+ the same.
    "bp4d": _labels("1 2 4 6 7 10 12 14 15 17 23 24"),
    "bp4d_intensity": _BP4D_INTENSITY,
    # Every AU column of BP4D+'s AU_OCC files (rPPG-Toolbox, BP4DPlusBigSmallLoader.py).
    "bp4d_plus": _labels(
        "1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 19 20 22 23 24 27 28 29 30 31 32 33 34 35 36 37"
        " 38 39"
    ),
    "bp4d_plus_intensity": _BP4D_INTENSITY,
    # The 27 AUs of EB+ that Tlili 2019 trains on (fig. 6.20).
    "eb_plus": _labels("1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 19 20 22 23 24 27 28 30 32 38 39"),
    "disfa": _DISFA_12,
    "disfa_8": _labels("1 2 4 6 9 12 25 26"),  # ME-GraphAU's protocol, used by Masur 2022
    "disfa_plus": _DISFA_12,
    # The 60 columns of EmotioNet's sheet. Not all are FACS codes: 3 and 47-49 are always unknown.
    "emotionet_60": tuple(str(n) for n in range(1, 61)),
    "emotionet_23": _labels(  # challenge of 2020
        "1 2 4 5 6 9 10 12 15 17 18 20 24 25 26 28 43 51 52 53 54 55 56"
    ),
    "emotionet_12": _labels("1 2 4 5 6 9 12 17 20 25 26 43"),  # challenge of 2018
    "emotionet_11": _labels("1 2 4 5 6 9 12 17 20 25 26"),  # challenge of 2017; Bartissol 2017 §4.3
    # The part of CK+'s full coding that OpenGraphAU reads (tool/dataset_process.py).
    "ck_plus": _labels("1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 20 22 23 24 25 26 27 38 39"),
    "unbc": _labels("4 6 7 9 10 12 20 25 26 43"),
    "gft": _labels("1 2 4 6 10 12 14 15 23 24"),
    "fera2015_bp4d": _labels("1 2 4 6 7 10 12 14 15 17 23"),
    "fera2015_semaine": _labels("2 12 17 25 28 45"),
    "fera2017": _labels("1 4 6 7 10 12 14 15 17 23"),
    "fera2017_intensity": _labels("1 4 6 10 12 14 17"),
    # What OpenGraphAU reads of RAF-AU (tool/dataset_process.py); the label file holds 77 tokens.
    "raf_au": (
        *_labels("1 2 4 5 6 7 9 10 12 14 15 16 17 18 19 20 22 23 24 25 26 27 32 39"),
        *_OPENGRAPHAU_SIDED,
    ),
    "aff_wild2": _labels("1 2 4 6 7 10 12 15 23 24 25 26"),
    # Toolkits: what their output files carry.
    "openface": _OPENFACE_R,  # AUxx_r
    "openface_occurrence": (*_OPENFACE_R[:-1], "28", "45"),  # AUxx_c
    "pyfeat": _labels("1 2 4 5 6 7 9 10 11 12 14 15 17 20 23 24 25 26 28 43"),
    "libreface": _labels("1 2 4 6 7 10 12 14 15 17 23 24"),
    "libreface_intensity": _DISFA_12,
    "opengraphau_27": _OPENGRAPHAU_27,
    "opengraphau": _OPENGRAPHAU_27 + _OPENGRAPHAU_SIDED,
}
