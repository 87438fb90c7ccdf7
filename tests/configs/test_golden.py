"""Every config resolves to its golden text, in every variant."""

import importlib.util
import itertools
from pathlib import Path

import pytest

from jaxfacs.train import config as configs

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("goldens", ROOT / "tools" / "goldens" / "configs.py")
goldens = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(goldens)


@pytest.mark.parametrize("path", goldens.paths(), ids=lambda p: p.stem)
def test_a_config_resolves_to_its_golden_text(path):
    golden = goldens.GOLDEN / f"{path.stem}.txt"
    wanted = golden.read_text() if golden.is_file() else ""
    found = goldens.text(path)
    pairs = itertools.zip_longest(wanted.splitlines(), found.splitlines(), fillvalue="nothing")
    apart = [f"{w} -> {f}" for w, f in pairs if w != f]
    assert found == wanted, (
        f"{golden.name} says otherwise, first {apart[:3]}; if the change is meant, run "
        "python tools/goldens/configs.py and commit the text with it"
    )


def test_no_golden_text_is_left_of_a_config_that_is_gone():
    written = {path.stem for path in goldens.GOLDEN.glob("*.txt")}
    assert written == {path.stem for path in goldens.paths()}


@pytest.mark.parametrize("stem", list(goldens.VARIANTS))
def test_every_variant_can_be_trained(stem):
    for options in goldens.VARIANTS[stem]:
        experiment = configs.load(f"{ROOT / 'configs' / stem}.py:{options}")
        assert configs.from_json(configs.to_json(configs.check(experiment))) == experiment
