"""The codes of the Facial Action Coding System: number, name, muscles, region, sides.

Sources: P. Ekman, W. Friesen, J. Hager, *Facial Action Coding System*, 2002 (names, numbers,
muscular basis as cited in the anatomical literature). The column "Muscular Basis" of Tlili 2019,
fig. 6.20, has slipped by a row from AU 9 on and is not followed.

FACS has gaps: no adult code 3, 47-49 or 67; 41, 42 and 44 of the 1978 edition were merged into 43
and 7 in 2002 and are kept because older databases carry them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

UPPER, LOWER, HEAD, EYES = "upper", "lower", "head", "eyes"
VISIBILITY, GROSS = "visibility", "gross"
REGIONS = (UPPER, LOWER, HEAD, EYES, VISIBILITY, GROSS)

INTENSITY_LETTERS = "ABCDE"
INTENSITY_WORDS = ("trace", "slight", "marked or pronounced", "severe or extreme", "maximum")


@dataclass(frozen=True)
class ActionUnit:
    """One code of FACS.

    Attributes:
      number: 1-98.
      name: as the manual names it.
      muscles: the muscles whose contraction (or relaxation, where the text says so) makes it; empty
        for action descriptors, gaze, visibility and gross behaviour.
      region: one of `REGIONS`; `upper` and `lower` are the halves of the face, `eyes` is gaze.
      sided: whether a coder may score one side of the face alone (L12, R14).
      mirror: the code that a mirrored picture shows instead, where it is another one (51 <-> 52).
    """

    number: int
    name: str
    muscles: tuple[str, ...]
    region: str
    sided: bool = False
    mirror: int | None = None

    @property
    def descriptor(self) -> bool:
        """Whether FACS calls it an action descriptor (AD), whose muscles it does not name."""
        return self.region in (UPPER, LOWER) and not self.muscles


_OCULI_ORBITALIS = "orbicularis oculi, pars orbitalis"
_OCULI_PALPEBRALIS = "orbicularis oculi, pars palpebralis"
_LID_RELAXED = "relaxation of levator palpebrae superioris"
_ORIS = "orbicularis oris"


def _rows() -> Iterator[ActionUnit]:
    unit = ActionUnit
    yield unit(1, "Inner brow raiser", ("frontalis, pars medialis",), UPPER, True)
    yield unit(2, "Outer brow raiser", ("frontalis, pars lateralis",), UPPER, True)
    yield unit(
        4,
        "Brow lowerer",
        ("depressor glabellae", "depressor supercilii", "corrugator supercilii"),
        UPPER,
        True,
    )
    lid_raisers = ("levator palpebrae superioris", "superior tarsal muscle")
    yield unit(5, "Upper lid raiser", lid_raisers, UPPER, True)
    yield unit(6, "Cheek raiser", (_OCULI_ORBITALIS,), UPPER, True)
    yield unit(7, "Lid tightener", (_OCULI_PALPEBRALIS,), UPPER, True)
    yield unit(8, "Lips toward each other", (_ORIS,), LOWER)
    yield unit(9, "Nose wrinkler", ("levator labii superioris alaeque nasi",), LOWER, True)
    yield unit(
        10, "Upper lip raiser", ("levator labii superioris, caput infraorbitalis",), LOWER, True
    )
    yield unit(11, "Nasolabial deepener", ("zygomaticus minor",), LOWER, True)
    yield unit(12, "Lip corner puller", ("zygomaticus major",), LOWER, True)
    yield unit(13, "Sharp lip puller", ("levator anguli oris (caninus)",), LOWER, True)
    yield unit(14, "Dimpler", ("buccinator",), LOWER, True)
    yield unit(15, "Lip corner depressor", ("depressor anguli oris (triangularis)",), LOWER, True)
    yield unit(16, "Lower lip depressor", ("depressor labii inferioris",), LOWER, True)
    yield unit(17, "Chin raiser", ("mentalis",), LOWER)
    pucker = ("incisivii labii superioris", "incisivii labii inferioris")
    yield unit(18, "Lip pucker", pucker, LOWER)
    yield unit(19, "Tongue show", (), LOWER)
    yield unit(20, "Lip stretcher", ("risorius", "platysma"), LOWER, True)
    yield unit(21, "Neck tightener", ("platysma",), LOWER, True)
    yield unit(22, "Lip funneler", (_ORIS,), LOWER)
    yield unit(23, "Lip tightener", (_ORIS,), LOWER)
    yield unit(24, "Lip pressor", (_ORIS,), LOWER)
    parting = ("depressor labii inferioris", "or relaxation of mentalis or orbicularis oris")
    yield unit(25, "Lips part", parting, LOWER)
    jaw = ("relaxation of masseter, temporalis and medial pterygoid",)
    yield unit(26, "Jaw drop", jaw, LOWER)
    yield unit(27, "Mouth stretch", ("pterygoids", "digastric"), LOWER)
    yield unit(28, "Lip suck", (_ORIS,), LOWER)
    yield unit(29, "Jaw thrust", (), LOWER)
    yield unit(30, "Jaw sideways", (), LOWER, True)  # the side is the direction: L30, R30
    yield unit(31, "Jaw clencher", ("masseter",), LOWER)
    yield unit(32, "Lip bite", (), LOWER)
    yield unit(33, "Cheek blow", (), LOWER, True)
    yield unit(34, "Cheek puff", (), LOWER, True)
    yield unit(35, "Cheek suck", (), LOWER, True)
    yield unit(36, "Tongue bulge", (), LOWER, True)  # under one cheek or lip
    yield unit(37, "Lip wipe", (), LOWER)
    yield unit(38, "Nostril dilator", ("nasalis, pars alaris",), LOWER, True)
    compressors = ("nasalis, pars transversa", "depressor septi nasi")
    yield unit(39, "Nostril compressor", compressors, LOWER, True)
    yield unit(40, "Sniff", (), GROSS)
    yield unit(41, "Lid droop", (_LID_RELAXED,), UPPER, True)
    yield unit(42, "Slit", (_OCULI_PALPEBRALIS,), UPPER, True)
    yield unit(43, "Eyes closed", (_LID_RELAXED, _OCULI_PALPEBRALIS), UPPER, True)
    yield unit(44, "Squint", ("corrugator supercilii", "orbicularis oculi"), UPPER, True)
    # Deliberate closing of one eye is 46, yet a blink can be seen, and coded, on one eye alone.
    yield unit(45, "Blink", (_LID_RELAXED, _OCULI_PALPEBRALIS), UPPER, True)
    yield unit(46, "Wink", (_LID_RELAXED, "orbicularis oculi"), UPPER, True)
    yield unit(50, "Speech", (), GROSS)
    yield unit(51, "Head turn left", (), HEAD, mirror=52)
    yield unit(52, "Head turn right", (), HEAD, mirror=51)
    yield unit(53, "Head up", (), HEAD)
    yield unit(54, "Head down", (), HEAD)
    yield unit(55, "Head tilt left", (), HEAD, mirror=56)
    yield unit(56, "Head tilt right", (), HEAD, mirror=55)
    yield unit(57, "Head forward", (), HEAD)
    yield unit(58, "Head back", (), HEAD)
    yield unit(59, "Head nod up and down", (), HEAD)  # the manual's movement code M59
    yield unit(60, "Head shake side to side", (), HEAD)  # the manual's movement code M60
    yield unit(61, "Eyes turn left", (), EYES, mirror=62)
    yield unit(62, "Eyes turn right", (), EYES, mirror=61)
    yield unit(63, "Eyes up", (), EYES)
    yield unit(64, "Eyes down", (), EYES)
    yield unit(65, "Walleye", (), EYES)
    yield unit(66, "Cross-eye", (), EYES)
    yield unit(68, "Upward rolling of eyes", (), EYES)  # the manual's movement code M68
    yield unit(69, "Eyes positioned to look at other person", (), EYES)
    yield unit(70, "Brows and forehead not visible", (), VISIBILITY)
    yield unit(71, "Eyes not visible", (), VISIBILITY)
    yield unit(72, "Lower face not visible", (), VISIBILITY)
    yield unit(73, "Entire face not visible", (), VISIBILITY)
    yield unit(74, "Unscorable", (), VISIBILITY)
    yield unit(80, "Swallow", (), GROSS)
    yield unit(81, "Chewing", (), GROSS)
    yield unit(82, "Shoulder shrug", (), GROSS)
    yield unit(84, "Head shake back and forth", (), GROSS)
    yield unit(85, "Head nod up and down", (), GROSS)
    yield unit(91, "Flash", (), GROSS)
    yield unit(92, "Partial flash", (), GROSS)
    yield unit(97, "Shiver or tremble", (), GROSS)
    yield unit(98, "Fast up-down look", (), GROSS)


ACTION_UNITS: dict[int, ActionUnit] = {row.number: row for row in _rows()}


def intensity_letter(intensity: float) -> str:
    """The letter A-E of an intensity in [0, 5]; "" below 1, where nothing is scored.

    A continuous intensity belongs to the last letter that it reaches: 2.9 is B.
    """
    if not 0 <= intensity <= 5:
        raise ValueError(f"intensity {intensity} is outside 0..5")
    return INTENSITY_LETTERS[int(intensity) - 1] if intensity >= 1 else ""
