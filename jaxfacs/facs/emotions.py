"""Emotion sets of the datasets, and published tables from AUs to emotions, as data.

Emotions are lower-case nouns ("happiness"); `canonical` reads the other spellings. Every table
names its source. A table says what its authors wrote, not what faces do: Tlili 2019 (§7.2) found
that spontaneous emotions seldom follow any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxfacs.facs.notation import Code, parse


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BASIC_6 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")

# Order is the dataset's own index order (from 0), so that a class index can be used as it is.
EMOTION_SETS: dict[str, tuple[str, ...]] = {
    "basic6": BASIC_6,
    "basic7": (*BASIC_6, "contempt"),
    "basic7_neutral": (*BASIC_6, "contempt", "neutral"),
    # Tlili 2019 §5.1: the emotions that the nine tasks of EB+ are meant to bring forth.
    "eb_plus": _words(
        "happiness sadness surprise skepticism embarrassment fear pain anger disgust"
    ),
    "fer2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "affectnet": _words("neutral happiness sadness surprise fear disgust anger contempt"),
    "raf_db": _words("surprise fear disgust happiness sadness anger neutral"),  # file: 1-7
    "raf_db_compound": (  # file: 1-11
        *("happily surprised", "happily disgusted", "sadly fearful", "sadly angry"),
        *("sadly surprised", "sadly disgusted", "fearfully angry", "fearfully surprised"),
        *("angrily surprised", "angrily disgusted", "disgustedly surprised"),
    ),
    "fer_plus": _words("neutral happiness surprise sadness anger disgust fear contempt"),
    "ferg_db": _words("anger disgust fear happiness neutral sadness surprise"),
    "jaffe": _words("neutral happiness sadness surprise anger disgust fear"),
    "caer_s": _words("anger disgust fear happiness neutral sadness surprise"),
    "ck_plus": _words("neutral anger contempt disgust fear happiness sadness surprise"),
    "abaw_expr": _words("neutral anger disgust fear happiness sadness surprise other"),
    "mmi": BASIC_6,  # file: 1-6
    "ravdess": _words("neutral calm happiness sadness anger fear disgust surprise"),  # 1-8
    "smic": ("negative", "positive", "surprise"),  # also MEGC 2019's over several sets
    "samm": _words("anger contempt disgust fear happiness sadness surprise other"),
    "casme2": _words("happiness disgust repression surprise sadness fear other"),
    "cas_me2": _words("positive negative surprise other"),
    # Du, Tao & Martinez 2014, table 1.
    "du2014": (
        *("happiness", "sadness", "fear", "anger", "surprise", "disgust"),
        *("happily surprised", "happily disgusted", "sadly fearful", "sadly angry"),
        *("sadly surprised", "sadly disgusted", "fearfully angry", "fearfully surprised"),
        *("fearfully disgusted", "angrily surprised", "angrily disgusted"),
        *("disgustedly surprised", "appalled", "hatred", "awed"),
    ),
}

ALIASES: dict[str, str] = {
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "nervousness": "fear",  # EB+ calls its task "Fear/Nervousness"
    "fear/nervous": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "embarrassed": "embarrassment",
    "skeptical": "skepticism",
    "others": "other",
    "disgusted surprised": "disgustedly surprised",  # so spelt in Tlili 2019, fig. 3.7
}


def canonical(name: str) -> str:
    """The noun used here for a name: "Happy" -> "happiness"; unknown names in lower case."""
    lowered = " ".join(name.strip().lower().replace("_", " ").split())
    return ALIASES.get(lowered, lowered)


@dataclass(frozen=True)
class Prototype:
    """One combination of AUs that stands for an emotion. Several rows of a table may share one.

    Attributes:
      emotion: canonical name.
      codes: all of them belong to it. Letters are the published intensities.
      at_least, at_most: conditions on intensity that the source states ("5 not stronger than B").
      one_sided: the side in `codes` stands for either side, and the other side must stay behind.
      shares: further AUs that only a share (0-1) of people show, by label.
    """

    emotion: str
    codes: tuple[Code, ...]
    at_least: tuple[Code, ...] = ()
    at_most: tuple[Code, ...] = ()
    one_sided: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PrototypeTable:
    """A published table: where it is from, and its rows in the order of the source."""

    source: str
    rows: tuple[Prototype, ...]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of the table, in order of first appearance."""
        return tuple(dict.fromkeys(row.emotion for row in self.rows))


def _row(emotion: str, formula: str, *, at_least: str = "0", at_most: str = "0", **options):
    return Prototype(emotion, parse(formula), parse(at_least), parse(at_most), **options)


def _rows(text: str) -> tuple[Prototype, ...]:
    """Rows "emotion: formula | formula", one emotion a line."""
    rows = []
    for line in text.strip().splitlines():
        emotion, formulas = line.split(":")
        rows += [_row(emotion.strip(), formula) for formula in formulas.split("|")]
    return tuple(rows)


def _with_shares(text: str) -> tuple[Prototype, ...]:
    """Rows "emotion: formula; AU percent, AU percent" of Du et al. 2014."""
    rows = []
    for line in text.strip().splitlines():
        emotion, rest = line.split(":")
        formula, _, variants = rest.partition(";")
        pairs = (pair.split() for pair in variants.split(",") if pair.strip())
        shares = {au: float(percent) / 100 for au, percent in pairs}
        rows.append(_row(emotion.strip(), formula, shares=shares))
    return tuple(rows)


# Contempt is a one-sided smile corner and dimple; which side is chance, so R stands for either.
_CONTEMPT = _row("contempt", "R12A+R14A", one_sided=True)
# Surprise carries a slight AU 5; fear's may be stronger: the letter is what parts the two.
_SURPRISE_5B = _row("surprise", "1+2+5B+26", at_most="5B")

_EMFACS_COMMON = (
    _row("happiness", "6+12"),
    _row("sadness", "1+4+15"),
    _SURPRISE_5B,
    _row("fear", "1+2+4+5+7+20+26"),
    _row("anger", "4+5+7+23"),
)

PROTOTYPES: dict[str, PrototypeTable] = {
    "emfacs": PrototypeTable(
        "EMFACS prototypes as listed on Wikipedia and iMotions (Sci. Rep. s41598-024-62902-6, "
        "fig. 7)",
        (*_EMFACS_COMMON, _row("disgust", "9+15+16"), _CONTEMPT),
    ),
    "masur": PrototypeTable(
        "Masur 2022, table 1",
        (*_EMFACS_COMMON, _row("disgust", "9+15+17"), _CONTEMPT),
    ),
    # AU 14 for sadness stands in the thesis so; the usual table has 15.
    "bartissol": PrototypeTable(
        "Bartissol 2017, table 2",
        (
            _row("neutral", "0"),
            _row("happiness", "6+12"),
            _row("sadness", "1+4+14"),
            _SURPRISE_5B,
            _row("fear", "1+2+4+5+7+20+26"),
            _row("anger", "4+5+7+23"),
            _row("disgust", "9+15+16"),
        ),
    ),
    # Criteria, not complete faces: whatever else moves, these decide.
    "facs_manual": PrototypeTable(
        "FACS manual criteria, Tlili 2019, fig. 7.1",
        (
            _row("anger", "23+24"),
            _row("disgust", "9"),
            _row("disgust", "10"),
            _row("fear", "1+2+4"),
            _row("fear", "1+2+5", at_least="5E"),  # AU 4 may be absent if 5 is of intensity E
            _row("happiness", "12"),
            _row("sadness", "1+4+15"),
            _row("sadness", "11"),
            _row("sadness", "6+15"),
            _row("surprise", "1+2", at_most="5B"),
            _row("surprise", "5", at_most="5B"),
            _row("contempt", "14"),  # on one side or both
        ),
    ),
    "tlili_pe_manual": PrototypeTable(
        "Tlili 2019, fig. 7.2, column 'PE Manual'",
        _rows("""
            happiness: 12
            sadness: 1+4+15 | 6+15
            embarrassment: 12 | 24
            fear: 1+2+4 | 1+2+5
            anger: 23+24
            disgust: 9+10
        """),
    ),
    "tlili_compound": PrototypeTable(
        "Tlili 2019, fig. 3.7 (compound emotions after Du et al. 2014)",
        _rows("""
            happiness: 12+25
            sadness: 4+15
            fear: 1+4+20+25
            anger: 4+7+24
            surprise: 1+2+25+26
            disgust: 9+10+17
            happily sad: 4+6+12+25
            happily surprised: 1+2+12+25
            happily disgusted: 10+12+25
            sadly fearful: 1+4+15+25
            sadly angry: 4+7+15
            sadly surprised: 1+4+25+26
            sadly disgusted: 4+10
            fearfully angry: 4+20+25
            fearfully surprised: 1+2+5+20+25
            fearfully disgusted: 1+4+10+20+25
            angrily surprised: 4+25+26
            disgustedly surprised: 1+2+5+10
            happily fearful: 1+2+12+25+26
            angrily disgusted: 4+10+17
            awed: 1+2+5+25
            appalled: 4+9+10
            hatred: 4+7+10
        """),
    ),
    "facs_most_intense": PrototypeTable(
        "FACS investigator's table 11-1, the most intense combinations",
        _rows("""
            happiness: 6+12+25
            sadness: 1+4+15
            disgust: 4+10+17
            anger: 4+5+7+24
            surprise: 1+2+5+26
            fear: 1+2+4+5+20+25
        """),
    ),
    "emfacs_variants": PrototypeTable(
        "EMFACS variants as collected in ticksterius-afk/facial-expression, emotion-model.json",
        (
            _row("happiness", "6+12"),
            _row("happiness", "12", at_least="12D"),  # "strong 12": D is severe
            *_rows("""
                sadness: 1+4+11+15 | 1+4+15 | 6+15
                surprise: 1+2+5+26 | 1+2+5+27
                fear: 1+2+4+5+20 | 1+2+4+5+20+25 | 1+2+4+5+20+26 | 1+2+4+5+20+27
                anger: 4+5+7+23 | 4+5+7+24 | 4+5+7+10+22+23+25 | 4+5+7+10+22+23+26
                disgust: 9 | 9+16+15 | 9+16+26 | 9+17 | 10 | 10+16+25 | 10+16+26 | 10+17
            """),
            _row("contempt", "R14", one_sided=True),
            _row("contempt", "R12+R14", one_sided=True),
        ),
    ),
    # Codes: shown by more than 70 % of 230 people. Rows 19 and 20, 3 and 9, 2 and 10 have the same
    # codes: only the shares part them.
    "du2014": PrototypeTable(
        "Du, Tao & Martinez 2014 (PNAS 111), table 1",
        _with_shares("""
            happiness: 12+25; 6 51
            sadness: 4+15; 1 60, 6 50, 11 26, 17 67
            fear: 1+4+20+25; 2 57, 5 63, 26 33
            anger: 4+7+24; 10 26, 17 52, 23 29
            surprise: 1+2+25+26; 5 66
            disgust: 9+10+17; 4 31, 24 26
            happily surprised: 1+2+12+25; 5 64, 26 67
            happily disgusted: 10+12+25; 4 32, 6 61, 9 59
            sadly fearful: 1+4+20+25; 2 46, 5 24, 6 34, 15 30
            sadly angry: 4+15; 6 26, 7 48, 11 20, 17 50
            sadly surprised: 1+4+25+26; 2 27, 6 31
            sadly disgusted: 4+10; 1 49, 6 61, 9 20, 11 35, 15 54, 17 47, 25 43
            fearfully angry: 4+20+25; 5 40, 7 39, 10 30, 11 33
            fearfully surprised: 1+2+5+20+25; 4 47, 10 35, 11 22, 26 51
            fearfully disgusted: 1+4+10+20+25; 2 64, 5 50, 6 26, 9 28, 15 33
            angrily surprised: 4+25+26; 5 35, 7 50, 10 34
            angrily disgusted: 4+10+17; 7 60, 9 57, 24 36
            disgustedly surprised: 1+2+5+10; 4 45, 9 37, 17 66, 24 33
            appalled: 4+10; 6 25, 9 56, 17 67, 24 36
            hatred: 4+10; 7 57, 9 27, 17 63, 24 37
            awed: 1+2+5+25; 4 21, 20 62, 26 56
        """),
    ),
    "pain": PrototypeTable(
        "Prkachin & Solomon 2008: the actions behind the PSPI score (see PSPI_GROUPS)",
        _rows("pain: 4+6+9+43 | 4+7+9+43 | 4+6+10+43 | 4+7+10+43"),
    ),
}

# Prkachin & Solomon pain intensity = the sum over groups of the strongest AU in each; 43 counts 0
# or 1, the others 0-5, so that the range is 0-16. Prkachin & Solomon 2008, Pain 139.
PSPI_GROUPS: tuple[tuple[str, ...], ...] = (("4",), ("6", "7"), ("9", "10"), ("43",))


@dataclass(frozen=True)
class CooccurrenceData:
    """Per cent of the frames of each emotion's task in which an AU was coded.

    Attributes:
      source: paper and figure.
      emotions: columns.
      percent: AU label -> one value a column, 0-100.
    """

    source: str
    emotions: tuple[str, ...]
    percent: Mapping[str, tuple[float, ...]]


def _percent(text: str) -> dict[str, tuple[float, ...]]:
    lines = (line.split() for line in text.strip().splitlines())
    return {au: tuple(float(v) for v in values) for au, *values in lines}


# Skepticism, the ninth emotion of EB+, has no column in the figure. In the row of AU 39 a page
# number stands among the values of the text that was read; it is left out here.
TLILI_COOCCURRENCE = CooccurrenceData(
    "Tlili 2019, fig. 7.3 (EB+)",
    _words("happiness sadness surprise embarrassment fear pain anger disgust"),
    _percent("""
        1 21.11 0.0 12.39 30.47 34.85 19.35 22.49 22.84
        2 20.52 0.0 3.67 25.67 31.75 10.13 18.42 11.21
        4 8.58 26.09 28.44 12.41 17.99 36.47 6.22 31.33
        5 0.5 4.35 7.8 4.35 6.05 0.71 0.0 0.16
        6 50.97 0.0 38.53 50.71 50.94 36.58 33.25 56.31
        7 76.45 39.13 57.34 76.16 73.39 58.76 67.46 77.49
        9 6.06 0.0 1.38 4.92 9.83 12.06 1.2 16.65
        10 74.1 0.0 49.54 77.3 71.73 63.53 54.55 76.67
        11 43.4 0.0 21.56 39.74 45.05 33.94 16.03 39.57
        12 73.68 0.0 42.66 69.81 67.88 41.84 59.33 57.21
        13 1.09 0.0 0.92 1.09 0.23 1.01 0.0 0.08
        14 69.13 52.17 29.36 77.82 71.58 63.93 51.91 42.04
        15 33.05 0.0 16.06 36.54 33.11 20.36 23.92 39.82
        16 38.52 4.35 27.06 44.08 24.64 25.94 39.0 32.89
        17 30.28 34.78 33.49 32.53 31.67 23.51 24.88 40.4
        18 2.02 0.0 0.92 2.74 0.83 1.62 3.83 2.06
        19 5.47 8.7 5.5 4.52 4.38 3.34 4.55 1.32
        20 17.33 4.35 8.26 20.75 15.65 14.89 9.57 10.72
        22 10.6 0.0 2.29 17.9 6.58 4.56 12.44 9.15
        23 43.9 47.83 31.65 46.6 40.06 35.97 50.48 33.55
        24 10.43 8.7 5.96 6.35 12.09 17.63 7.89 7.91
        27 0.42 0.0 0.92 0.29 0.23 2.23 0.96 0.08
        28 9.25 4.35 10.55 5.72 7.94 15.3 6.94 1.65
        30 0.42 0.0 0.46 0.23 0.23 0.3 0.48 0.08
        32 12.28 0.0 2.29 10.12 8.16 16.31 5.98 2.97
        38 0.42 0.0 0.46 0.23 0.3 1.22 0.0 0.08
        39 3.03 0.0 2.29 0.63 3.78 6.08 1.67 0.99
    """),
)
