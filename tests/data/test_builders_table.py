"""What is true of every builder."""

import dataclasses
import re

import pytest

from jaxfacs.cli import main
from jaxfacs.data import known_counts
from jaxfacs.data.build import BuildOptions
from jaxfacs.data.builders import DELIVERED, MADE, builder
from jaxfacs.faces.prepare import FaceSteps

OWN = ("folder", "tfrecord")  # sets of one's own: their licence and citation are the person's


@pytest.mark.parametrize("name", DELIVERED)
def test_a_builder_says_who_it_is(name):
    known = builder(name)
    assert known.name == name and re.fullmatch(r"[a-z][a-z0-9_]*", name)
    for field in ("title", "task", "labels", "licence", "obtain", "layout"):
        assert getattr(known, field), field
    assert known.citation or name in OWN
    assert set(known.overlaps) <= set(DELIVERED) - {name}
    FaceSteps.parse(known.faces, size=known.size)


@pytest.mark.parametrize("name", DELIVERED)
def test_its_options_have_defaults_are_explained_and_clash_with_none_of_all_sets(name, capsys):
    options = builder(name).options
    options()
    names = {field.name for field in dataclasses.fields(options)}
    assert not names & {field.name for field in dataclasses.fields(BuildOptions)}
    for field in names:
        assert re.search(rf"^\s+{field}:", options.__doc__ or "", re.MULTILINE), field
    for published in builder(name).known:
        assert set(published.when) <= names
        for key in published.counts:  # raises for a key that nobody counts
            assert known_counts.count(key, None, {"splits": {}, "aus": [], "emotions": []}) == 0


def test_the_list_names_every_set(capsys):
    assert main(["data", "list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {*MADE, *DELIVERED} <= listed


def test_help_of_a_builder_teaches(capsys):
    with pytest.raises(SystemExit) as left:
        main(["data", "build", "disfa", "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for word in ("--source", "--faces", "--protocol", "--present-from", "Licence", "Expected"):
        assert word in said
