"""The weights that come with the package: found by name, told where they are missing, packed."""

import tomllib
from pathlib import Path

import pytest

import jaxfacs
from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.infer import shipped

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def weights(folder, bundles):
    (folder / "default.jaxfacs").write_bytes(bundles["frame"].read_bytes())
    (folder / "clip.jaxfacs").write_bytes(bundles["clip"].read_bytes())
    return folder


def test_without_a_path_the_default_is_loaded(weights):
    assert jaxfacs.load().bundle.path == weights / "default.jaxfacs"
    assert jaxfacs.load("clip").bundle.path == weights / "clip.jaxfacs"


def test_a_path_is_a_path(weights, bundles):
    assert shipped.find(bundles["full"]) == bundles["full"]
    assert shipped.find("./default") == Path("./default")
    assert shipped.find("defaults.jaxfacs") == Path("defaults.jaxfacs")


@pytest.mark.parametrize(
    "words",
    [["predict", "FILM", "--out", "OUT"], ["predict", "FILM", "--model", "clip", "--out", "OUT"]],
    ids=["default", "clip"],
)
def test_predict_needs_no_model(weights, film, tmp_path, words):
    out = tmp_path / "out"
    assert cli.main([{"FILM": str(film), "OUT": str(out)}.get(w, w) for w in words]) == 0
    assert (out / "drawn.csv").is_file()


def test_inspect_shows_the_default(weights, capsys):
    assert cli.main(["inspect"]) == 0
    assert "default.jaxfacs" in capsys.readouterr().out
    assert cli.main(["inspect", "clip"]) == 0
    assert "clip.jaxfacs" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["predict", "F", "--out", "O"], ["inspect"], ["serve"]])
def test_where_they_are_missing_one_line_says_how_to_make_them(
    folder, words, film, tmp_path, capsys
):
    words = [{"F": str(film), "O": str(tmp_path / "out")}.get(w, w) for w in words]
    words += ["--port", "0"] if words == ["serve"] else []
    assert cli.main(words) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "no weights 'default'" in told[0] and "docs/weights.md" in told[0]
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no weights 'clip'"):
        jaxfacs.load("clip")


def test_the_wheel_holds_the_folder_and_its_licences():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["jaxfacs"]}
    assert shipped.FOLDER == ROOT / "jaxfacs" / "weights"
    licences = project["project"]["license-files"]
    assert "jaxfacs/weights/LICENSE-ICT-FaceKit" in licences
    assert all((ROOT / path).is_file() for path in licences)
    ignored = (ROOT / ".gitignore").read_text()  # hatchling leaves out what git ignores
    assert ".jaxfacs" not in ignored and "weights" not in ignored
    assert sum(p.stat().st_size for p in shipped.FOLDER.iterdir()) < 8 << 20
