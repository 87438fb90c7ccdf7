"""The page about tables: its Python runs, and it names every column that is written."""

import re
from pathlib import Path

import pytest
from made_results import made_results

from jaxfacs.infer import tables

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
AUS, EMOTIONS = ("1", "6", "12"), ("happiness", "sadness")


def test_the_python_on_the_page_runs(tmp_path, monkeypatch, capsys):
    results = made_results(200, aus=AUS, emotions=EMOTIONS)
    for name, layout in (("film.csv", "openface"), ("fex.csv", "py-feat")):
        with tables.writing(tmp_path / name, aus=AUS, emotions=EMOTIONS, layout=layout) as add:
            for result in results:
                add(result)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    assert "jaxfacs 223" in said and "Person_1" in said
    assert set(names["smiles"].index) == {-1, 0, 1}


@pytest.mark.parametrize("layout", tables.LAYOUTS)
def test_the_page_names_every_column(layout):
    chosen = tables.create(
        layout, aus=("1",), emotions=("happiness",), valence_arousal=True, names=("a",)
    )
    section = PAGE.split("## ")[1 if layout == "openface" else 2]
    assert not [name for name in chosen.header if f"`{name}`" not in section]
