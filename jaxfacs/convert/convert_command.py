"""`jaxfacs convert`: published weights -> a work directory as training leaves one."""

import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxfacs.convert.published import AUS, Published, find, listing
from jaxfacs.errors import UserError
from jaxfacs.facs import DATASET_AUS, CodeError, split_label

CARD_JSON, CARD_MD = "weights.json", "WEIGHTS.md"
LISTED = 10
LARGE = 100_000_000  # bytes of a file that takes long enough to say so


def convert(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")],
    /,
    *,
    workdir: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    form: Annotated[str, tyro.conf.arg(metavar="FORM")] = "",
    aus: Annotated[str, tyro.conf.arg(metavar="LABELS")] = "",
    licence: Annotated[str, tyro.conf.arg(metavar="TEXT")] = "",
) -> int:
    """Turn published weights into a work directory that the other commands read.

    Then `jaxfacs export --workdir DIR` makes a model for `predict` of weights that answer AUs,
    `jaxfacs evaluate --workdir DIR --source RECORDS` measures them, and `jaxfacs train CONFIG.py
    --init-from DIR` starts a training from any. `jaxfacs convert list` says which weights are
    published where. A card of what was converted is in DIR/WEIGHTS.md and DIR/weights.json.

    Reads .pth .pt .tar .pkl (PyTorch), .safetensors, .npz, .h5 and .weights.h5 (Keras), .t7
    (Torch7), .mat (MatConvNet), and TensorFlow checkpoints by their prefix. Nothing that a file
    holds is run: a PyTorch file with code in it is refused.

    Args:
      name: of the network, as in me_graphau or resnet50; with options, as in
        me_graphau:neighbors=3
      weights: the file
      workdir: a new folder
      form: whose weights they are, as `jaxfacs convert list` names them; found by itself
      aus: labels of the outputs where they are not known, as in "1 2 4 L12"; a list of
        jaxfacs.facs.DATASET_AUS, as in bp4d; or none for weights that answer no AUs
      licence: of these weights, for the card, if you know better than the list
    """
    from jaxfacs.convert import files
    from jaxfacs.convert.weights import convert as convert_weights
    from jaxfacs.train.named_options import split

    _check_new(workdir)
    network, options = split(name)
    if weights.is_file() and weights.stat().st_size > LARGE:
        megabytes = weights.stat().st_size / 1e6
        print(f"reading {weights} ({megabytes:.0f} MB)", file=sys.stderr, flush=True)
    read = files.read(weights)
    converted = convert_weights(network, read.tensors, form=form, **options)
    release = find(network, converted.form)
    labels, classes = _labels(network, converted, release, aus)
    card = _card(network, converted, read, release, licence=licence, aus=labels, classes=classes)
    _write(workdir, network, converted, read, card, labels)
    print(_told(card, workdir))
    return 0


def list_published() -> int:
    """Say which weights are published for which network, by whom, and under which licence.

    The third column of each row, its form, is what --form takes where a file does not tell.
    """
    print(listing())
    return 0


def _check_new(workdir: Path) -> None:
    if workdir.is_dir() and not any(workdir.iterdir()):
        return
    if workdir.exists():
        raise UserError(f"--workdir {workdir} is there already; give the name of a new folder")
    if not workdir.parent.is_dir():
        try:
            workdir.parent.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"cannot make --workdir {workdir} ({error.strerror}); give a folder you may "
                "write to"
            ) from error


def _labels(
    network: str, converted: Any, release: Published | None, given: str
) -> tuple[tuple[str, ...], str]:
    """(labels of the outputs, what they are if they are no AUs)."""
    if converted.headless:
        return ("none",), "no last layer"
    known = tuple(converted.options.get("aus", ()))
    count = converted.options.get("num_aus") or len(known)
    if not count and release is not None:
        count = max(release.holds)
    unnamed = tuple(f"class {i}" for i in range(count))
    if given == "none":
        return unnamed, f"{count} classes"
    if given:
        return _given_labels(network, count, given), ""
    if known:
        return known, ""
    holds = release.holds.get(count, "") if release is not None else ""
    if release is not None and holds == AUS:
        return release.aus[count], ""
    if not holds:
        raise UserError(
            f"these weights have {count} outputs, and nobody says here which AUs they are; give "
            "--aus, as in --aus '1 2 4', or --aus none if they are no AUs"
        )
    return unnamed, holds


def _given_labels(network: str, count: int, given: str) -> tuple[str, ...]:
    labels = DATASET_AUS.get(given) or tuple(given.replace(",", " ").split())
    if len(labels) != count:
        raise UserError(
            f"--aus has {len(labels)} labels, these weights of {network} have {count} outputs; "
            "give one label for each, in their order"
        )
    if len(set(labels)) < len(labels):
        raise UserError(f"--aus names an AU twice: {' '.join(labels)}")
    try:
        for label in labels:
            split_label(label)
    except CodeError as error:
        raise UserError(
            f"--aus: {error}; or the name of a list: {', '.join(DATASET_AUS)}"
        ) from None
    return labels


def _card(
    network: str,
    converted: Any,
    read: Any,
    release: Published | None,
    *,
    licence: str,
    aus: tuple[str, ...],
    classes: str,
) -> dict[str, Any]:
    """What is known of the weights, for people and for `--init-from`."""
    from jaxfacs import __version__, models
    from jaxfacs.train.paths import paths

    card = models.card(network)
    mean, std = models.normalisation(converted.normalisation, model=network)
    _, params, stats = models.split(converted.module)
    size = converted.options.get("size") or card.size
    return {
        "network": network,
        "options": {k: v for k, v in converted.options.items() if k not in ("num_aus", "aus")},
        "form": converted.form,
        "file": {"name": read.name, "format": read.format, "sha256": read.sha256},
        "paper": card.paper,
        "page": release.page if release else card.source,
        "licence": licence or (release.licence if release else card.licence),
        "trained": release.trained if release else "not known",
        "classes": classes,
        "aus": [] if classes else list(aus),
        "input": {
            "frames": card.frames,
            "size": size,
            "normalisation": converted.normalisation or "of the network's card",
            "mean": list(mean),
            "std": list(std),
            "owners": release.input if release else "",
        },
        "tensors": converted.loaded,
        "parameters": sum(int(v.size) for v in paths(params).values()),
        "groups": _groups([*paths(params).items(), *paths(stats).items()]),
        "unused": list(converted.unused),
        "notes": list(converted.notes),
        "jaxfacs": __version__,
    }


def _groups(arrays: list[tuple[str, Any]]) -> dict[str, list[int]]:
    """backbone/layer1 -> [tensors, numbers]."""
    groups: dict[str, list[int]] = {}
    for path, array in arrays:
        row = groups.setdefault("/".join(path.split("/")[:-1][:2]), [0, 0])
        row[0] += 1
        row[1] += int(array.size)
    return groups


def _write(
    workdir: Path,
    network: str,
    converted: Any,
    read: Any,
    card: dict[str, Any],
    labels: tuple[str, ...],
) -> None:
    """The folder, whole or not at all."""
    from absl import logging

    from jaxfacs import models
    from jaxfacs.train import checkpoint, trained

    logging.set_verbosity(logging.FATAL)  # Orbax warns that there are no metrics
    experiment = _experiment(network, converted, card)
    data = {
        "name": "converted",
        "digest": read.sha256,
        "crop": {"detector": "haar", "margin": 0.1, "size": card["input"]["size"]},
    }
    manifest = checkpoint.new_manifest(experiment, aus=labels, emotions=(), data=data)
    manifest["converted"] = {k: v for k, v in card.items() if k != "unused"}
    _, params, stats = models.split(converted.module)
    temporary = workdir.with_name(f".part-{os.getpid()}-{workdir.name}")
    try:
        temporary.mkdir()
        trained.save_first(temporary, manifest, params=params, stats=stats)
        (temporary / "config.json").write_text(json.dumps(manifest, indent=2) + "\n")
        (temporary / CARD_JSON).write_text(json.dumps(card, indent=2) + "\n")
        (temporary / CARD_MD).write_text(_markdown(card))
        if workdir.is_dir():
            workdir.rmdir()
        temporary.rename(workdir)
    except OSError as error:
        raise UserError(
            f"cannot write --workdir {workdir} ({error.strerror}); give a folder you may write to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _experiment(network: str, converted: Any, card: dict[str, Any]) -> Any:
    """The experiment whose network this is; its data are those of whoever evaluates it."""
    from jaxfacs.data.config import NO_AUGMENT, DataConfig
    from jaxfacs.train.config import Experiment, ModelConfig

    fields = {field.name for field in dataclasses.fields(ModelConfig)}
    options = card["options"]
    return Experiment(
        data=DataConfig(
            frames=card["input"]["frames"], size=card["input"]["size"], augment=NO_AUGMENT
        ),
        model=ModelConfig(
            name=network,
            normalisation=converted.normalisation,
            options={k: v for k, v in options.items() if k not in fields},
            **{k: v for k, v in options.items() if k in fields},
        ),
    )


def _told(card: dict[str, Any], workdir: Path) -> str:
    from jaxfacs.convert.keymap import BUFFERS

    file, rows = card["file"], card["groups"].items()
    width = max(len(group) for group, _ in rows)
    lines = [
        f"{card['network']} ({card['form']}) of {file['name']}, {file['format']}: "
        f"{card['tensors']} tensors, {card['parameters'] / 1e6:.1f} M parameters",
        *(f"  {group:<{width}} {n:>5} tensors {size:>12,}" for group, (n, size) in rows),
        f"answers {card['classes'] or 'AU ' + ' '.join(card['aus'])}",
        f"licence: {card['licence']}",
        *(f"note: {note}" for note in card["notes"]),
    ]
    unused = [name for name in card["unused"] if not re.search(BUFFERS, name)]
    if buffers := len(card["unused"]) - len(unused):
        lines.append(f"left out: {buffers} counters and tables, which hold no weights")
    if unused:
        more = f" and {len(unused) - LISTED} more in {CARD_JSON}" if len(unused) > LISTED else ""
        lines.append(f"not used ({len(unused)}): {', '.join(unused[:LISTED])}{more}")
    next_step = "train CONFIG.py --init-from" if card["classes"] else "export --workdir"
    return "\n".join([*lines, f"-> {workdir}; next: jaxfacs {next_step} {workdir}"])


def _markdown(card: dict[str, Any]) -> str:
    file, fed = card["file"], card["input"]
    rows = {
        "network": f"{card['network']}, form {card['form']}, options {card['options'] or 'none'}",
        "file": f"{file['name']} ({file['format']}), sha256 {file['sha256']}",
        "paper": card["paper"],
        "published at": card["page"],
        "licence": card["licence"],
        "trained on": card["trained"],
        "answers": card["classes"] or "AU " + " ".join(card["aus"]),
        "input": f"{fed['frames']} frames of {fed['size']} x {fed['size']} px, RGB in 0..255",
        "scaling": f"(RGB - {tuple(fed['mean'])}) / {tuple(fed['std'])}",
        "as its owners fed it": fed["owners"] or "not known",
        "tensors": f"{card['tensors']}, {card['parameters']:,} parameters",
        "not used": ", ".join(card["unused"]) or "nothing",
        "notes": "; ".join(card["notes"]) or "none",
        "converted by": f"jaxfacs {card['jaxfacs']}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"# Converted weights\n\n| | |\n|---|---|\n{table}\n"
