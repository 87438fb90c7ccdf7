"""Imports run one way, as docs/architecture.md draws them, and heavy ones wait until needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "jaxfacs"

# A folder may import from the folders of the levels above its own, never sideways or back.
LEVELS = (
    {"errors"},
    {"files", "progress"},
    {"facs"},
    {"synthface", "faces", "ops"},
    {"data", "evaluate", "runtime", "emotion", "models"},
    {"train", "infer"},
    {"convert", "serve"},
    {"bench"},
    {"cli"},
    {"__main__", "__init__"},
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}

# What may never be imported, wherever in the file it stands.
FORBIDDEN = {
    "facs": {"jax", "flax", "cv2", "numpy"},
    "synthface": {"jax", "flax", "tensorflow_datasets", "grain"},
    "faces": {"jax", "flax", "tensorflow_datasets", "grain"},
    "data": {"jax", "flax", "orbax"},  # worker processes load these modules
    "emotion": {"jax", "flax"},
    "evaluate": {"jax", "flax"},
    "infer": {"flax", "orbax", "grain", "tensorflow_datasets", "optax"},
    "serve": {"flax", "orbax", "grain", "tensorflow_datasets", "optax", "matplotlib"},
}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which way they run"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_walk_sees_the_package():
    assert {_room(path) for path in _files()} == LEVEL.keys()


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = _room(path)
    if path == PACKAGE / "__init__.py":
        return
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "jaxfacs" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != room:
            assert LEVEL[parts[1]] < LEVEL[room], f"{room} may not import {name}"
        assert parts[0] not in FORBIDDEN.get(room, set()), f"{room} may not import {name}"


def test_no_file_grew_beyond_one_room():
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in _files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long


def _loaded_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    assert not _loaded_by("import jaxfacs") & {"jax", "cv2", "numpy", "tyro", "matplotlib"}


def test_inference_loads_nothing_of_training():
    loaded = _loaded_by("import jaxfacs.infer.predictor, jaxfacs.infer.command")
    assert not loaded & {"flax", "orbax", "grain", "tensorflow_datasets", "optax", "sklearn"}
