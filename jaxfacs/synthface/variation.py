"""Which kinds of variety the renderer shows, so that each can be left out and its worth measured.

    clip(7, variation=Variation.without("hair", "shadow"))
    clip(7, variation=Variation.naive())

A kind that is left out still makes all its draws, so that everything else stays as it was.
"""

from dataclasses import dataclass, fields

from jaxfacs.errors import UserError


@dataclass(frozen=True)
class Variation:
    """All kinds of variety, each True where it is shown.

    Attributes:
      hair: hairstyles and their colours; without: a shaved head.
      wear: glasses, beards, headwear, make-up.
      occlusion: hands, objects and strands of hair in front of the face.
      skin: pores, spots, and wrinkles by action and age.
      eyes: gaze, catch-lights, lids that follow, lashes, the iris.
      mouth: teeth, tongue, the dark behind them, wet lips.
      shadow: cast and ambient.
      camera: lens, exposure, white balance, blur, noise, compression, low resolution, grey.
      background: anything but a plain one.
      people: the range of identities and ages, and resting faces that differ.
      range: expressions past the published shapes, asymmetry, combinations of actions.
      speech: talking and other movement of the mouth that is no expression.
    """

    hair: bool = True
    wear: bool = True
    occlusion: bool = True
    skin: bool = True
    eyes: bool = True
    mouth: bool = True
    shadow: bool = True
    camera: bool = True
    background: bool = True
    people: bool = True
    range: bool = True
    speech: bool = True

    @classmethod
    def naive(cls) -> "Variation":
        """Nothing but identity, pose, light and actions."""
        return cls(**dict.fromkeys(KINDS, False))

    @classmethod
    def without(cls, *kinds: str) -> "Variation":
        """All kinds but these. Raises UserError where a kind is unknown."""
        for kind in kinds:
            if kind not in KINDS:
                raise UserError(f"variation {kind!r} is unknown; choose from {', '.join(KINDS)}")
        return cls(**dict.fromkeys(kinds, False))


KINDS = tuple(field.name for field in fields(Variation))
EVERYTHING = Variation()
