"""Golden text of every config: the resolved experiment, a line a field.

    python tools/goldens/configs.py

writes tests/golden/configs/NAME.txt for each configs/NAME.py. Read the diff before committing it:
each line of it is a change of somebody's experiment.
"""

import json
from pathlib import Path

from jaxfacs.train import config as configs

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "configs"

# Options of each config beside its defaults, whose text is what they change.
VARIANTS: dict[str, tuple[str, ...]] = {
    "bp4d_me_graphau": ("fold=2", "fold=3", "stage=2", "backbone=swin_b"),
    "bp4d_scc": ("fold=2", "fold=3", "size=96"),
    "caers_emotiram_me_graphau": ("encoder=bp4d", "keep_aus=true"),
    "caers_emotiram_scc": ("keep_aus=true",),
    "disfa_me_graphau": ("fold=2", "fold=3", "stage=2", "backbone=resnet50"),
    "disfa_scc": ("fold=2", "fold=3", "size=96"),
    "emotionet_aus": ("aus=11", "network=inception_v2", "network=inception_v2,aus=11"),
    "emotionet_valence_arousal": ("network=inception_v2",),
    "mmi_alexnet_finetune": ("loss=bp_mll",),
    "mmi_two_stream": ("fusion=weights", "fusion=fc"),
    "open_graphau_hybrid": ("stage=2", "backbone=swin_b"),
}


def paths() -> list[Path]:
    """Every config file."""
    return sorted((ROOT / "configs").glob("*.py"))


def text(path: Path) -> str:
    """The golden text of one config: its experiment, then what each variant and smoke change."""
    plain = _flat(configs.to_json(configs.load(path)))
    parts = [_block(f"configs/{path.name}", plain)]
    for options in VARIANTS.get(path.stem, ()):
        other = _flat(configs.to_json(configs.load(f"{path}:{options}")))
        parts.append(_block(f"configs/{path.name}:{options}", _changed(plain, other)))
    small = _flat(configs.to_json(configs.load(path, smoke=True)))
    parts.append(_block(f"configs/{path.name} --smoke", _changed(plain, small)))
    return "\n".join(parts)


def _flat(tree: dict, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value)
    return dict(sorted(flat.items()))


def _changed(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    return dict(sorted({**changed, **dict.fromkeys(old.keys() - new.keys(), "gone")}.items()))


def _block(title: str, fields: dict[str, str]) -> str:
    return "".join([f"# {title}\n", *(f"{name} = {value}\n" for name, value in fields.items())])


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.glob("*.txt"):
        old.unlink()
    for path in paths():
        (GOLDEN / f"{path.stem}.txt").write_text(text(path))
        print(f"{path.stem}: written")


if __name__ == "__main__":
    main()
