"""Who was learned from, so that nobody is measured on whom a network knows already.

A person is a word for a group of people and a subject's name in it: sets that share their people
(`SetInfo.people`; DISFA+ films nine of DISFA's) share the word, any other set has its own name for
it. Where the people are the same but nobody says who is who (RAF-AU's pictures are among RAF-DB's,
FERA 2017's films are of BP4D+), the card of a set lists the sets that it overlaps.
"""

from collections.abc import Iterable
from typing import Any

from jaxfacs.data.records import RecordSet
from jaxfacs.errors import UserError

# Name of a set -> its word for its people, the subjects that were learned from, and the sets that
# it overlaps. Plain JSON: checkpoints carry it.
Seen = dict[str, dict[str, Any]]

LISTED = 5


def word_of(records: RecordSet) -> str:
    """What tells the people of this set from those of others."""
    return records.people or records.name


def seen_in(splits: Iterable[tuple[RecordSet, str]]) -> Seen:
    """Who and what is in these splits of these sets."""
    return joined(
        *(
            {
                records.name: {
                    "people": word_of(records),
                    "subjects": sorted(set(records.subjects[split]) - {""}),
                    "overlaps": sorted(records.card.get("overlaps", [])),
                }
            }
            for records, split in splits
        )
    )


def joined(*several: Seen) -> Seen:
    """Everybody of all of them; a set that is in two is there with the subjects of both."""
    out: Seen = {}
    for seen in several:
        for name, entry in seen.items():
            before = out.get(name, {"subjects": [], "overlaps": []})
            union = {key: sorted({*before[key], *entry[key]}) for key in ("subjects", "overlaps")}
            out[name] = {"people": entry["people"], **union}
    return out


def refuse_seen(seen: Seen, held_out: Iterable[tuple[RecordSet, str]], *, remedy: str) -> None:
    """Raises UserError if somebody who was learned from is in one of these splits.

    Names the persons, or the sets that overlap without saying in whom. Subjects "" are nobody.

    Args:
      seen: of the network.
      held_out: sets and the splits of them that are to be measured on.
      remedy: how to go on all the same, as in "give --allow-overlap True".
    """
    for records, split in held_out:
        for name, entry in seen.items():
            both = set()
            if entry["people"] == word_of(records):
                both = set(entry["subjects"]) & set(records.subjects[split]) - {""}
            if both:
                raise UserError(
                    f"{_listed(both)} of {name} were learned from and are in split '{split}' of "
                    f"{records.name} as well, which would be measured on people that the network "
                    f"knows; take other splits, or {remedy}"
                )
            overlaps = {*entry["overlaps"], *records.card.get("overlaps", [])}
            if name != records.name and ({name, records.name} & overlaps):
                raise UserError(
                    f"{name}, which was learned from, and split '{split}' of {records.name} show "
                    "some of the same people, and their labels do not say whom; leave one of them "
                    f"out, or {remedy}"
                )


def _listed(subjects: set[str]) -> str:
    names = sorted(subjects)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{'subjects' if len(names) > 1 else 'subject'} {', '.join(names[:LISTED])}{more}"
