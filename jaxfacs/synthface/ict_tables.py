"""What the ICT Face Model Light lacks: its shapes read as FACS, its creases and its paint.

The model's own README maps FACS to shapes. Each shape was rendered and held beside the FACS
description of the action; where they part, the decision and its reason stand in RECIPES.

Creases are polylines in the frontal plane (x, y in cm on the generic neutral face) for the
subject's left (+x); the right side is the mirror image.
"""

# label -> ((shape, weight at intensity 5, region), ...) ; "{s}" is the side. Regions (ict.py):
# "side" splits a shape that has no sides, "off_lips"/"lips" keep the skin or the lips alone,
# "medial" the part of a brow or nose shape within 2.5 cm of the midline.
Recipe = tuple[tuple[str, float, str], ...]

RECIPES: dict[str, Recipe] = {
    # Frontalis, medial part. The shape's 0.6 cm is a C in looks; raised to E. It lifts the whole
    # brow somewhat, but FACS sees 1 in its slope: the tail sinks a little.
    "1": (("browInnerUp_{s}", 1.75, ""), ("browTail_{s}", 0.7, "")),
    # Frontalis, lateral part. The shape also lifts the inner brow somewhat, as the action does.
    "2": (("browOuterUp_{s}", 1.3, ""),),
    # Corrugator, depressor supercilii. The shape lowers and draws together; only too little:
    # raised as far as it keeps its form, with the rest made.
    "4": (("browDown_{s}", 1.6, ""), ("browKnit_{s}", 1.0, ""), ("browDrop_{s}", 0.62, "")),
    # Levator palpebrae: the white above the iris must show.
    "5": (("eyeWide_{s}", 1.6, ""),),
    # Orbicularis oculi, outer part. The README names cheekSquint; that lifts the lower lid and
    # the cheek weakly, cheekRaiser the cheek: FACS describes both together.
    "6": (
        ("cheekSquint_{s}", 0.5, "off_lips"),
        ("cheekRaiser_{s}", 0.9, "off_lips"),
        ("eyeSquint_{s}", 0.1, ""),
    ),
    # Orbicularis oculi, inner part: the lower lid up and straight, the upper a little down.
    "7": (("eyeSquint_{s}", 1.7, ""), ("eyeBlink_{s}", 0.24, "")),
    # Levator labii alaeque nasi. noseSneer bares the teeth as much as AU 10 does, and FACS sees
    # 9 in the nose: so the lips follow less, and the inner brow comes down, as the manual says.
    "9": (
        ("noseSneer_{s}", 1.5, "off_lips"),
        ("noseSneer_{s}", 0.45, "lips"),
        ("browDown_{s}", 0.9, "medial"),
        ("browKnit_{s}", 0.5, ""),
        ("nostril_{s}", 0.6, ""),
    ),
    # Levator labii. The README gives mouthShrugUpper, which pushes the middle of the upper lip up
    # and leaves the infraorbital triangle and the nasolabial fold alone: it is what the chin
    # raiser does to the upper lip. mouthUpperUp has the angular bend and the fold of AU 10.
    "10": (
        ("mouthUpperUp_{s}", 1.0, ""),
        ("mouthShrugUpper", 0.35, "side"),
        ("cheekFold_{s}", 0.6, ""),
    ),
    # Zygomaticus minor: the README's mouthUpperUp without the lips it would part (those are
    # AU 10): the skin beside the nose rises and the middle of the fold deepens.
    "11": (("mouthUpperUp_{s}", 0.85, "off_lips"), ("cheekFold_{s}", 1.7, "")),
    "12": (
        ("mouthSmile_{s}", 1.22, ""),
        ("cheekRaiser_{s}", 0.25, "off_lips"),
        ("cheekFold_{s}", 0.35, ""),
    ),
    # Buccinator. The shape lifts the corner like a smile; FACS has it tightened inwards: a little
    # of the frown keeps it level.
    "14": (("mouthDimple_{s}", 1.1, ""), ("mouthFrown_{s}", 0.5, "")),
    "15": (("mouthFrown_{s}", 1.35, ""),),
    # Depressor labii. The shape's 0.45 cm shows the edge of the teeth only.
    "16": (("mouthLowerDown_{s}", 1.6, ""),),
    # Mentalis: chin boss and lower lip up, and the upper lip gives way.
    "17": (("mouthShrugLower", 1.0, ""), ("mouthShrugUpper", 0.55, "")),
    "18": (("mouthPucker", 1.0, ""),),
    # Risorius and platysma: the shape pulls the corners down as much as back; some of the smile's
    # back and up takes the down out, so that 20 is not taken for 15.
    "20": (("mouthStretch_{s}", 1.05, ""), ("mouthSmile_{s}", 0.28, "")),
    "22": (("mouthFunnel", 1.0, ""),),
    # Orbicularis oris, tightened: the red parts narrow and roll in, the mouth shortens.
    "23": (
        ("mouthRollLower", 0.66, ""),
        ("mouthRollUpper", 0.6, ""),
        ("mouthPucker", 0.6, ""),
    ),
    # Pressed together: flat, with bulges above and below, and no shortening.
    "24": (
        ("mouthPress_L", 1.2, ""),
        ("mouthPress_R", 1.2, ""),
        ("mouthRollLower", 0.22, ""),
        ("mouthRollUpper", 0.22, ""),
    ),
    # Lips part without the jaw: half of the depressors, a little of the levators, lips only.
    "25": (
        ("mouthLowerDown_L", 0.65, ""),
        ("mouthLowerDown_R", 0.65, ""),
        ("mouthUpperUp_L", 0.4, "lips"),
        ("mouthUpperUp_R", 0.4, "lips"),
    ),
    # The README gives AU 27 for jawOpen: the shape at 1 is a stretched mouth; a dropped jaw is
    # the same way less than half as far.
    # The upper lip gives way a little: mouths that hang or scream show the edge of its teeth.
    "26": (
        ("jawOpen", 0.42, ""),
        ("mouthUpperUp_L", 0.12, "lips"),
        ("mouthUpperUp_R", 0.12, "lips"),
    ),
    "27": (
        ("jawOpen", 0.95, ""),
        ("mouthUpperUp_L", 0.28, "lips"),
        ("mouthUpperUp_R", 0.28, "lips"),
    ),
    "28": (("mouthRollLower", 0.9, ""), ("mouthRollUpper", 0.85, "")),
    "43": (("eyeBlink_{s}", 1.0, ""),),
}

# Shapes of ict_made, which no file holds.
MADE = ("browKnit", "browDrop", "browTail", "lidHood", "cheekFold", "nostril", "tongueOut")

# Those of heads.EXTRAS. A "~" is what one face does more, another less, in the same action.
EXTRA_RECIPES: dict[str, Recipe] = {
    # Tongue out over the lower lip, which needs the jaw a little open.
    "19": (("tongueOut", 1.0, ""), ("jawOpen", 0.34, "")),
    "34": (("cheekPuff_L", 1.5, ""), ("cheekPuff_R", 1.5, "")),
    "jaw_left": (("jawLeft", 1.3, ""),),
    "jaw_right": (("jawRight", 1.3, ""),),
    "jaw_forward": (("jawForward", 0.8, ""),),
    "mouth_left": (("mouthLeft", 0.9, ""),),
    "mouth_right": (("mouthRight", 0.9, ""),),
    "1~": (("browInnerUp_{s}", 0.35, ""), ("browTail_{s}", 0.9, "")),
    "4~": (("browKnit_{s}", 0.9, ""), ("browDrop_{s}", -0.35, "")),
    "6~": (("cheekRaiser_{s}", 0.3, "off_lips"), ("eyeSquint_{s}", 0.3, "")),
    "9~": (("noseSneer_{s}", 0.3, "lips"), ("nostril_{s}", 0.7, "")),
    # Smiles that go up or sideways, with the fold deep or flat.
    "12~": (
        ("mouthDimple_{s}", 0.45, ""),
        ("mouthSmile_{s}", -0.12, ""),
        ("cheekFold_{s}", 0.8, ""),
    ),
    # Upper or lower teeth.
    "25~": (
        *(("mouthUpperUp_L", 0.4, "lips"), ("mouthUpperUp_R", 0.4, "lips")),
        *(("mouthLowerDown_L", -0.4, ""), ("mouthLowerDown_R", -0.4, "")),
    ),
    "26~": (("mouthUpperUp_L", 0.25, "lips"), ("mouthUpperUp_R", 0.25, "lips")),
    "27~": (
        *(("mouthUpperUp_L", 0.3, "lips"), ("mouthUpperUp_R", 0.3, "lips")),
        *(("mouthStretch_L", 0.25, ""), ("mouthStretch_R", 0.25, "")),
    ),
    # Full lips at rest; negative: thin.
    "lips": (("mouthRollLower", -0.55, ""), ("mouthRollUpper", -0.55, "")),
    "rest_brow": (("browDrop_{s}", -1.4, ""),),
    "rest_hood": (("lidHood_{s}", 1.0, ""),),
    "rest_fold": (("cheekFold_{s}", 1.2, ""),),
    "rest_nostril": (("nostril_{s}", 1.0, ""),),
}

# Of these, what faces differ in at rest: both lips are made to move alike where they meet.
SEALED = ("lips", "jaw_forward")

# Sums that go wrong, and what puts them right: on as far as all of the actions are.
PRODUCTS: tuple[tuple[tuple[str, ...], Recipe], ...] = (
    # Frontalis against corrugator: the brow is held up and drawn together, steeply oblique.
    (("{s}1", "{s}4"), (("browInnerUp_{s}", 0.75, ""), ("browDrop_{s}", -0.5, ""))),
    # A grin bares the upper teeth; the lower lip is drawn tight along the lower ones.
    (("{s}12", "25"), (("mouthUpperUp_{s}", 0.18, "lips"), ("mouthStretch_{s}", 0.2, ""))),
    # The skin that two actions push together does not pile up twice.
    (("{s}4", "{s}9"), (("browKnit_{s}", -0.85, ""), ("browDown_{s}", -0.7, "medial"))),
    (("{s}9", "{s}10"), (("mouthUpperUp_{s}", -0.3, ""),)),
    (("{s}6", "{s}12"), (("cheekRaiser_{s}", -0.2, "off_lips"),)),
)

# Lids that follow the eye. "In" is towards the nose.
GAZE_SHAPES: dict[str, str] = {
    "Lup": "eyeLookUp_L",
    "Ldown": "eyeLookDown_L",
    "Lleft": "eyeLookOut_L",
    "Lright": "eyeLookIn_L",
    "Rup": "eyeLookUp_R",
    "Rdown": "eyeLookDown_R",
    "Rleft": "eyeLookIn_R",
    "Rright": "eyeLookOut_R",
}

Polyline = tuple[tuple[float, float], ...]

CREASES: dict[str, tuple[Polyline, ...]] = {
    # Forehead lines: over the inner brows for 1, arched over the outer ones for 2.
    "1": (
        ((0.0, 7.9), (1.2, 8.0), (2.7, 7.6)),
        ((0.0, 8.8), (1.4, 8.9), (3.0, 8.5)),
        ((0.0, 9.7), (1.4, 9.7), (2.6, 9.4)),
    ),
    "2": (
        ((2.3, 7.5), (3.6, 7.7), (5.2, 7.0)),
        ((2.4, 8.4), (3.8, 8.5), (5.3, 7.8)),
        ((2.6, 9.3), (3.8, 9.3), (5.0, 8.7)),
    ),
    # Upright furrow between the brows, and the one across the root of the nose.
    "4": (((0.5, 4.7), (0.55, 5.6), (0.75, 6.7)), ((0.0, 4.2), (0.7, 4.3))),
    # Crow's feet, and the furrow below the lower lid.
    "6": (
        ((4.8, 3.5), (5.9, 4.3)),
        ((4.85, 3.2), (6.1, 3.3)),
        ((4.75, 2.9), (5.9, 2.3)),
        ((1.9, 2.6), (3.0, 2.0), (4.4, 2.2)),
    ),
    "7": (((1.95, 2.8), (2.9, 2.55), (4.1, 2.7)),),
    # Wrinkles along the sides and across the root of the nose, and the top of the fold.
    "9": (
        ((0.3, 3.4), (1.1, 3.1)),
        ((0.4, 2.8), (1.2, 2.4)),
        ((0.0, 4.0), (0.6, 3.9)),
        ((1.35, 0.2), (1.8, -0.6), (2.3, -1.4)),
    ),
    # The nasolabial fold: its upper part, its middle, or all of it.
    "10": (((1.4, -0.1), (2.0, -1.0), (2.6, -2.1)),),
    "11": (((1.8, -0.8), (2.3, -1.6), (2.6, -2.2)),),
    "12": (((1.5, -0.3), (2.2, -1.2), (2.8, -2.2), (3.15, -2.9)),),
    "14": (((3.0, -2.8), (3.1, -3.6), (2.95, -4.3)),),
    "15": (((2.75, -3.9), (3.0, -4.6), (2.9, -5.4)),),
    "17": (((0.0, -5.2), (0.8, -5.3), (1.4, -5.8)),),
    # Upright lines on the skin over the lips; with 23 the furrow under the lower lip as well, with
    # 28 the skin drawn over the lips.
    "18": (((0.45, -2.1), (0.5, -2.8)), ((1.1, -2.3), (1.0, -2.9)), ((0.6, -4.5), (0.55, -5.0))),
    "23": (
        ((0.45, -2.1), (0.5, -2.8)),
        ((1.15, -2.2), (1.2, -2.9)),
        ((1.9, -2.5), (1.9, -3.1)),
        ((0.0, -4.8), (0.9, -4.7), (1.7, -4.3)),
    ),
    "20": (((3.0, -2.6), (3.35, -3.6), (3.1, -4.6)),),
    "24": (((0.0, -4.85), (0.9, -4.75), (1.8, -4.4)),),
    "28": (
        ((0.5, -2.5), (1.3, -2.7), (2.1, -3.2)),
        ((0.0, -4.6), (0.9, -4.5), (1.8, -4.1)),
    ),
}
CREASE_WIDTH_CM = 0.16

# Height (cm) of the front hairline round the head, by the angle from straight ahead (degrees).
HAIRLINE_DEG_CM: Polyline = (
    (0.0, 10.4),
    (25.0, 10.3),
    (45.0, 9.0),
    (62.0, 6.6),
    (78.0, 2.5),
    (95.0, 2.6),
    (112.0, 0.0),
    (140.0, -4.5),
    (180.0, -6.0),
)
