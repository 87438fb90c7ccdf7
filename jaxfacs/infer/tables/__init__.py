"""Tables of results: writing them as they come, and reading this package's and other tools'.

OpenFace's columns and decimals, so that its users' scripts go on working:

    frame,face_id,timestamp,confidence,success,AU01_r,…,AU01_c,…,AU01_p,…,valence,arousal,EMOTION,…

`_r` is the intensity 0-5, `_c` presence 0/1, `_p` the probability (which OpenFace does not give);
valence and arousal lie in [-1, 1]. Columns are there for what the network answers. One row per face
and frame; a frame without a face is a row with `success` 0, `face_id` -1 and empty cells, since
nothing is known there. Frames count from 1, timestamps are seconds. The box of the face in pixels
comes last. Or py-feat's columns: docs/tables.md has both in full.
"""

from jaxfacs.infer.tables.layouts import LAYOUTS, Layout, create
from jaxfacs.infer.tables.reading import (
    Table,
    chunks,
    read,
    read_frame,
    read_openface,
    read_pyfeat,
)
from jaxfacs.infer.tables.writing import SUFFIXES, Writer, writing

__all__ = [
    "LAYOUTS",
    "SUFFIXES",
    "Layout",
    "Table",
    "Writer",
    "chunks",
    "create",
    "read",
    "read_frame",
    "read_openface",
    "read_pyfeat",
    "writing",
]
