"""A bundle in words, for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxfacs import facs
from jaxfacs.infer import bundle as bundles
from jaxfacs.infer.bundle import Bundle

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def lines(bundle: Bundle, *, platforms: Sequence[str], outputs: Iterable[str]) -> Iterator[str]:
    """What it reads and answers, each AU, where it comes from, its card and its parts."""
    about, spec = bundle.manifest["about"], bundle.input
    yield f"{bundle.path}: bundle format {bundle.manifest['format']}, whole"
    length = "any length" if bundle.time == bundles.ANY else f"{bundle.time} frames"
    rate = "a film's own frames" if spec.fps is None else f"every one at {spec.fps:g} a second"
    step = f", every {spec.stride}th" if spec.stride > 1 else ""
    answered = f"{len(spec.answers)} frames" if spec.per_frame else f"frame {spec.answers[0]}"
    crop = ", ".join(f"{key} {value}" for key, value in sorted(bundle.crop.items()))
    mapper = bundle.emotion_mapper
    named = ", ".join(bundle.emotions) or (f"by a mapper ({mapper['kind']})" if mapper else "none")
    yield from _pairs(
        {
            "reads": f"clips of {spec.frames} × {spec.size} × {spec.size} RGB{step}, {rate}",
            "takes": f"clips of {length}",
            "answers": f"{', '.join(sorted(outputs))}; of {answered} of a clip",
            "emotions": named,
            "precision": bundle.precision,
            "platforms": ", ".join(platforms),
            "faces": crop,
            "unsure below": bundle.confidence_threshold,
            "adapts": "its statistics (jaxfacs adapt)" if bundle.statistics else None,
        }
    )
    yield from precision_lines(bundle.manifest.get("precision", {}))
    yield from _aus(bundle)
    yield "origin"
    yield from _pairs({key: about[key] for key in _ORIGIN if about.get(key) not in (None, "", {})})
    yield from _pairs({"in training": _numbers(about.get("validation", {}), prefix="mean_")})
    for step in about.get("adapted", ()):
        yield from _pairs({"adapted": _adapted(step)})
    yield from _card(bundle.card)
    yield "parts"
    for name, part in bundle.manifest["parts"].items():
        yield f"  {name:<18}{size(part['bytes']):>10}  sha256 {part['sha256']}"
    yield f"  {bundles.MANIFEST:<18}{'':>10}  sha256 {bundle.digest}"


_ORIGIN = (
    *("model", "parameters", "paper", "source", "licence", "step", "thresholds"),
    *("data", "converted", "started_from", "checkpoint_sha256", "jaxfacs", "jax"),
)


def size(count: int) -> str:
    """Bytes for people: "11.1 MB"."""
    return next((f"{count / by:.1f} {unit}" for unit, by in _UNITS if count >= by), f"{count} B")


def _adapted(step: Mapping[str, Any]) -> str:
    """What `jaxfacs adapt` did once."""
    done = []
    if "statistics" in step:
        done.append(f"statistics ({step['statistics']['keep']:g} of the old ones kept)")
    if "thresholds" in step:
        done.append(f"thresholds of {len(step['thresholds'])} AUs")
    if "rest" in step:
        done.append("a rest")
    films = ", ".join(film["file"] for film in step["films"])
    return f"{', '.join(done)}; to {films}"


def _aus(bundle: Bundle) -> Iterator[str]:
    """A row an AU: the probability from which it is present, and its calibration at five places."""
    if not bundle.aus:
        return
    from jaxfacs.infer.calibration import apply, curves

    shown = (0.1, 0.3, 0.5, 0.7, 0.9)
    yield f"  {'AU':<5}{'name':<28}{'threshold':>9}  calibration of {shown}"
    for au, threshold in zip(bundle.aus, bundle.thresholds_A, strict=True):
        told = "-"
        if au in bundle.calibration:
            curve = curves((au,), {au: bundle.calibration[au]})
            told = " ".join(f"{float(apply([[x]], curve)[0, 0]):.2f}" for x in shown)
            told += f"  {bundle.calibration[au].get('method', '')}".rstrip()
        yield f"  {au:<5}{name(au):<28}{threshold:>9.4f}  {told}"


def name(label: str) -> str:
    """ "lip corner puller, left" of "L12"; "" of a label that FACS does not know."""
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    sides = {"L": ", left", "R": ", right"}
    return f"{unit.name}{sides.get(side, '')}" if unit else ""


def _card(card: Mapping[str, Any]) -> Iterator[str]:
    if not card:
        return
    yield "card"
    yield from _pairs({"meant for": card.get("intended")})
    for made in card.get("data", ()):
        splits = ", ".join(
            f"{split} {told['clips']} clips of {told['subjects']} people"
            for split, told in made.get("splits", {}).items()
        )
        yield from _pairs({"learned from": made.get("name", ""), "": splits})
        for key in ("licence", "citation"):
            yield from _pairs({f"its {key}": made[key]} if made.get(key) else {})
    for split, report in card.get("measured", {}).items():
        if isinstance(report, Mapping) and "mean" in report:
            yield from _pairs({f"on {split}": _numbers(report["mean"])})
    for use in card.get("not_for", ()):
        yield from _pairs({"not for": use})


def _numbers(named: Mapping[str, Any], *, prefix: str = "") -> str:
    return ", ".join(
        f"{key.removeprefix(prefix)} {value:.3f}"
        for key, value in named.items()
        if key.startswith(prefix) and isinstance(value, int | float)
    )


def _pairs(rows: Mapping[str, Any]) -> Iterator[str]:
    for key, value in rows.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if value not in ("", None):
            yield f"  {key:<18}{value}"


def precision_lines(precision: Mapping[str, Any]) -> list[str]:
    """What a manifest's `precision` says was measured; nothing for float32."""
    found = precision.get("against_float32")
    if not found:
        return []
    sizes = found["weight_bytes"]
    probability = found["outputs"].get("probability", {"largest": 0.0, "mean": 0.0})
    told = [
        f"{precision['name']} against float32, on {found['clips']} {found['on']}:",
        f"  weights {sizes['float32'] / 1e6:.2f} MB -> {sizes['stored'] / 1e6:.2f} MB",
        f"  probability differs by {probability['mean']:.2g} on average, at most "
        f"{probability['largest']:.2g}; {found['flipped']} of {found['presences']} presences flip",
    ]
    for key, name in (("mean_average_precision", "mean AP"), ("mean_f1", "mean F1")):
        if pair := found[key]:
            told.append(f"  {name} {pair[0]:.4f} -> {pair[1]:.4f} ({pair[1] - pair[0]:+.4f})")
    told.append(f"  {'AU':<5}{'mean':>9}{'largest':>9}{'flips':>7}{'AP':>18}{'F1':>18}")
    for row in found["per_au"]:
        pairs = "".join(
            f"{'' if (p := row[key]) is None else f'{p[0]:.3f} -> {p[1]:.3f}':>18}"
            for key in ("average_precision", "f1")
        )
        told.append(
            f"  {row['au']:<5}{row['mean']:>9.2g}{row['largest']:>9.2g}{row['flipped']:>7}{pairs}"
        )
    return told
