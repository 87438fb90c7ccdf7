"""The resting mesh of the built-in head: skin and pieces joined, then mirrored."""

from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface import builtin_mesh as mesh
from jaxfacs.synthface import builtin_parts as parts
from jaxfacs.synthface import builtin_surface as surface

PIECES = ("skin", "eyeball", "lid_margin", "lashes", "mouth", "upper_teeth", "upper_gum",
          "lower_teeth", "lower_gum", "tongue", "ear")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Body:
    """The resting mesh with what the actions and the identity need to know about it.

    Attributes:
      vertices_V3, triangles_F3, part_F: as in `heads.Head`.
      piece_V: place in PIECES of what a vertex belongs to.
      mirror_V: index of the mirror image of every vertex.
      below_V: bool, on the lower lip's side of the mouth.
      v_V: arc length down the profile, of `builtin_surface.skull`; 0 off the skin.
      bind_V, follow_V, jaw_V: how pieces move, see `builtin_parts.Piece`.
      eye_loop, upper_lip, lower_lip: see `builtin_mesh.HalfSkin`; of the left half.
    """

    vertices_V3: np.ndarray
    triangles_F3: np.ndarray
    part_F: np.ndarray
    piece_V: np.ndarray
    mirror_V: np.ndarray
    below_V: np.ndarray
    v_V: np.ndarray
    bind_V: np.ndarray
    follow_V: np.ndarray
    jaw_V: np.ndarray
    eye_loop: np.ndarray
    upper_lip: np.ndarray
    lower_lip: np.ndarray

    def of(self, *pieces: str) -> np.ndarray:
        """bool V: the vertices of these pieces."""
        return np.isin(self.piece_V, [PIECES.index(piece) for piece in pieces])


def body() -> Body:
    """Builds the mesh; takes most of a second."""
    half = mesh.half_skin()
    skin = surface.features(surface.skull(*half.qv_N2.T), half.below_N)
    skin[half.seam_N, 0] = 0
    pieces = [
        parts.eyeball(),
        parts.lid_margin(skin, half.eye_loop),
        parts.lashes(skin, half.eye_loop, mesh.EYE_POINTS),
        parts.mouth_bag(skin, half.upper_lip, half.lower_lip),
        *parts.teeth(upper=True),
        *parts.teeth(upper=False),
        parts.tongue(),
        parts.ear(),
    ]
    n = len(skin)
    vertices, triangles, part = [skin], [half.triangles_F3], [np.zeros(len(half.triangles_F3), int)]
    rows = [
        {
            "piece_V": np.zeros(n, int),
            "below_V": half.below_N,
            "v_V": half.qv_N2[:, 1],
            "bind_V": np.arange(n),
            "follow_V": np.ones(n),
            "jaw_V": np.zeros(n),
            "seam": half.seam_N,
        }
    ]
    for number, piece in enumerate(pieces, 1):
        own, start = piece.triangles_F3, sum(map(len, vertices))
        triangles.append(np.where(own >= 0, own + start, -1 - own))
        part.append(np.broadcast_to(piece.part, len(own)))
        vertices.append(piece.vertices_N3)
        count = len(piece.vertices_N3)
        rows.append(
            {
                "piece_V": np.full(count, number),
                "below_V": piece.jaw_N > 0.5,
                "v_V": np.zeros(count),
                "bind_V": piece.bind_N,
                "follow_V": piece.follow_N,
                "jaw_V": piece.jaw_N,
                "seam": piece.seam & (np.abs(piece.vertices_N3[:, 0]) < 1e-9),
            }
        )
    column = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return _mirrored(
        half, np.concatenate(vertices), np.concatenate(triangles), np.concatenate(part), column
    )


def _mirrored(
    half: mesh.HalfSkin,
    vertices: np.ndarray,
    triangles: np.ndarray,
    part: np.ndarray,
    column: dict[str, np.ndarray],
) -> Body:
    """Adds the right half. Seam vertices are shared."""
    seam = column.pop("seam")
    twin = np.flatnonzero(~seam)
    image = np.where(seam, np.arange(len(seam)), len(seam) + np.cumsum(~seam) - 1)
    both = {name: np.concatenate([values, values[twin]]) for name, values in column.items()}
    right = both["bind_V"][len(seam) :]
    both["bind_V"][len(seam) :] = np.where(right < 0, -1, image[right])
    return Body(
        vertices_V3=np.concatenate([vertices, vertices[twin] * [-1, 1, 1]]),
        triangles_F3=np.concatenate([triangles, image[triangles][:, ::-1]]),
        part_F=np.concatenate([part, part]),
        mirror_V=np.concatenate([image, twin]),
        eye_loop=half.eye_loop,
        upper_lip=half.upper_lip,
        lower_lip=half.lower_lip,
        **both,
    )
