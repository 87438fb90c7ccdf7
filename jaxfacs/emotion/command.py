"""`jaxfacs emotions show` and `edit`: what a mapper says, and an expert's word in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.files import PUBLISHED, in_columns, load, named, save
from jaxfacs.emotion.reading import Mapper
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.emotion.rules import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.facs import PROTOTYPES, format, parse_label
from jaxfacs.facs.emotions import canonical

LEFT_OUT, FITTED = "out", "fitted"
HELD = 16  # frames
NAMED_A_SIDE = 6  # AUs of an emotion that the terminal shows


def show(mapper: Annotated[str, tyro.conf.Positional] = "", /, *, out: Path | None = None) -> None:
    """Print what a mapper goes by; draw a co-occurrence table as a heat map.

    Rules: each row with its intensities, limits and sides. A co-occurrence table: the AUs that are
    more and less frequent in an emotion than elsewhere, and a PNG of all shares. A classifier: the
    AUs that move its answer most when they come in alone.

    Args:
      mapper: a JSON of `jaxfacs emotions fit`, a rule table by name, or "published" for the
        co-occurrence table of Tlili 2019, fig. 7.3. Empty: list the names.
      out: the PNG of a co-occurrence table; without it, beside the JSON.
    """
    if not mapper:
        rows = [
            (name, f"{len(table.emotions)} emotions, {len(table.rows)} rows", table.source)
            for name, table in PROTOTYPES.items()
        ]
        rows.append((PUBLISHED, "co-occurrence, 8 emotions", "Tlili 2019, fig. 7.3 (EB+)"))
        print(in_columns(("mapper", "what", "source"), rows))
        return
    read = named(mapper)
    if isinstance(read, CooccurrenceMapper):
        _show_table(read, Path(mapper).with_suffix(".png") if out is None else out)
        return
    if out is not None:
        raise UserError(f"{mapper} is no co-occurrence table; only these are drawn, leave --out")
    if isinstance(read, RuleMapper):
        _show_rules(read)
    else:
        _show_effects(read)


def edit(
    table: Annotated[Path, tyro.conf.Positional],
    edits: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
) -> None:
    """Correct cells of a co-occurrence table by hand; what was fitted stays beside it.

    Args:
      table: JSON of `jaxfacs emotions fit`, or "published" (needs --out).
      edits: EMOTION:AU=SHARE with a share from 0 to 1; EMOTION:AU=out leaves the AU out for that
        emotion; EMOTION:AU=fitted takes an edit back. As in sadness:15=0.6 "happily sad:12=out".
      out: where the edited table goes; without it, into the same file.
    """
    if str(table) == PUBLISHED and out is None:
        raise UserError("the published table is no file; give --out for the edited one")
    mapper = named(table)
    if not isinstance(mapper, CooccurrenceMapper):
        raise UserError(f"{table} is no co-occurrence table; only these have cells to edit")
    if not edits:
        raise UserError("no edit given; write EMOTION:AU=SHARE, as in sadness:15=0.6")
    before, rows = mapper, []
    for text in edits:
        emotion, au, share = parse_edit(text)
        mapper = (
            mapper.unedited(emotion, au)
            if share == FITTED
            else mapper.edited(emotion, au, None if share == LEFT_OUT else float(share))
        )
        e, a = mapper.emotions.index(emotion), mapper.aus.index(au)
        fitted = before.rate_EA[e, a]
        rows.append((emotion, au, _cell(fitted), _used(before, e, a), _used(mapper, e, a)))
    save(mapper, table if out is None else out)
    print(in_columns(("emotion", "AU", "fitted", "was read as", "is read as"), rows))
    print(table if out is None else out)


def load_table(path: Path) -> CooccurrenceMapper:
    """A co-occurrence table; other mappers are refused by name."""
    mapper = load(path)
    if not isinstance(mapper, CooccurrenceMapper):
        raise UserError(f"{path} is no co-occurrence table; give one from emotions fit")
    return mapper


def effects(mapper: Mapper, aus: tuple[str, ...]) -> np.ndarray:
    """E×A: log of how much likelier each emotion is when an AU is present rather than absent.

    The other AUs are unknown, so that each mapper puts in what it takes for average. One that
    remembers sees each face for `HELD` frames.
    """
    alone = np.full((2 * len(aus), len(aus)), np.nan)
    for a in range(len(aus)):
        alone[2 * a, a], alone[2 * a + 1, a] = 1.0, 0.0
    if isinstance(mapper, RecurrentMapper):
        films = [mapper.apply(aus, np.repeat(face[None], HELD, axis=0)) for face in alone]
        probability = np.stack([film.probability_TE[-1] for film in films])
    else:
        probability = mapper.apply(aus, alone).probability_TE
    probability = np.maximum(probability, 1e-12)
    return np.log(probability[0::2] / probability[1::2]).T


def _show_table(table: CooccurrenceMapper, out: Path) -> None:
    from jaxfacs.emotion.plots import heat_map

    heat_map(table, out)
    above_EA = np.nan_to_num(table.used_EA - table.average_A)
    rows = []
    for e, emotion in enumerate(table.emotions):
        order = np.argsort(-above_EA[e])
        often = [table.aus[a] for a in order if above_EA[e, a] > 0]
        seldom = [table.aus[a] for a in order[::-1] if above_EA[e, a] < 0]
        edited = _edits(table.edits.get(emotion, {}))
        rows.append((emotion, " ".join(often) or "-", " ".join(seldom) or "-", edited))
    print(in_columns(("emotion", "more than elsewhere", "less", "edited"), rows))
    print(f"{table.source}; cells within {table.threshold:g} of the AU's average say nothing")
    print(out)


def _show_rules(mapper: RuleMapper) -> None:
    rows = []
    for rule in mapper.rules:
        limits = [f"at least {c}" for c in rule.at_least] + [f"at most {c}" for c in rule.at_most]
        limits += ["on one side"] if rule.one_sided else []
        limits += [f"{au} in {100 * share:.0f} %" for au, share in rule.shares.items()]
        rows.append((rule.emotion, format(rule.codes), ", ".join(limits) or "-"))
    print(in_columns(("emotion", "AUs", "with"), rows))
    print(mapper.source)


def _show_effects(mapper: Mapper) -> None:
    aus: tuple[str, ...] = tuple(mapper.to_json()["aus"])
    effect_EA = effects(mapper, aus)
    rows = []
    for e, emotion in enumerate(mapper.emotions):
        order = np.argsort(-effect_EA[e])
        raised = [f"{aus[a]} {effect_EA[e, a]:+.1f}" for a in order if effect_EA[e, a] > 0.05]
        lowered = [f"{aus[a]} {effect_EA[e, a]:+.1f}" for a in order if effect_EA[e, a] < -0.05]
        rows.append(
            (
                emotion,
                ", ".join(raised[:NAMED_A_SIDE]) or "-",
                ", ".join(lowered[::-1][:NAMED_A_SIDE]) or "-",
            )
        )
    print(in_columns(("emotion", "raised by", "lowered by"), rows))
    print("log of how much likelier the emotion is with the AU than without, all others unknown")


def parse_edit(text: str) -> tuple[str, str, str]:
    """ "sadness:15=0.6" as its parts; the share is checked by the table."""
    emotion, colon, rest = text.rpartition(":")
    au, equals, share = rest.partition("=")
    share = share.strip().lower()
    try:
        number = share in (LEFT_OUT, FITTED) or 0 <= float(share) <= 1
    except ValueError:
        number = False
    if not (colon and equals and number):
        raise UserError(f"{text!r} is no edit; write EMOTION:AU=SHARE, SHARE 0 to 1, out or fitted")
    return canonical(emotion), parse_label(au), share


def _edits(cells: Mapping[str, Any]) -> str:
    texts = (f"{au}={LEFT_OUT if s is None else f'{s:g}'}" for au, s in cells.items())
    return " ".join(texts) or "-"


def _used(table: CooccurrenceMapper, e: int, a: int) -> str:
    return _cell(table.used_EA[e, a])


def _cell(share: float) -> str:
    return "not at all" if np.isnan(share) else f"{share:.2f}"
