"""The card of shipped weights as Markdown: says what the measurements say, and adds no number."""

from collections.abc import Mapping
from typing import Any

import weights_card_text_real as real_faces_text
from weights_card_table import bullets, in_order, listed, number, span, table, wrapped

from jaxfacs.convert import model_card
from jaxfacs.infer import bundle_text

# What was asked of the means over AUs on held-out rendered people before training.
AIMS = {"ap": 0.90, "icc": 0.80}
NOT_FOR = (
    "telling whether somebody lies, is honest, attentive or guilty: no movement of the face says "
    "so",
    "hiring, promoting, grading, disciplining or insuring people, or any other decision about one",
    "watching people at work, at school, in shops, in public places, at borders, in prison",
    "finding or recognising people: it knows nobody, and must not be made to",
    "diagnosis, triage, or following an illness, pain or a treatment",
    "saying what somebody feels, thinks or intends. **An AU is a movement, an emotion is an "
    "interpretation**: the emotion columns name the expression that posers make under that name, "
    "and people smile for many reasons",
    "faces of children, of patients (palsy, surgery, botulinum toxin, tremor), of actors in "
    "make-up, or of anybody else unlike the people below, unless you coded some of them yourself "
    "and measured it on these first",
    "people who did not agree to it",
)
_LETTERS = "ABCDE"
_BY = {"ap": "mean AP", "f1": "mean F1"}


def markdown(card: Mapping[str, Any]) -> str:
    """The whole card.

    Args:
      card: `network`, `data`, `held_out` (of `weights_card_measure.measure`), `failures` (of
        `weights_card_measure.failures`), `real` (of `real_faces.score`, or None), `pictures`
        (name -> address, as seen from the card).
    """
    parts = [
        f"# The weights `{card['network']['name']}`",
        "Written by `tools/weights_card.py`: every number here was measured, on the file named "
        "below.",
        *_network(card["network"]),
        *_use(),
        *_data(card["data"], card["pictures"]),
        *_held_out(card["held_out"], card["network"]),
        *real_faces_text.parts(card["real"]),
        *_groups(card["held_out"], card["data"]),
        *_confidence(card["held_out"]),
        *_failures(card),
    ]
    return "\n\n".join(parts) + "\n"


def _network(network: Mapping[str, Any]) -> list[str]:
    shape = f"{network['size']} × {network['size']} RGB"
    margin = network["crop"].get("margin", 0)
    adapts = "can be adapted" if network["adapts"] else "cannot be adapted"
    rows = {
        "reads": f"one picture of {shape}" if network["frames"] == 1 else
                 f"clips of {network['frames']} pictures of {shape}",
        "of a face": f"as `jaxfacs predict` cuts it out: the detector's square (this one's: "
                     f"{network['detector']}) and {margin:.0%} of it on each side",
        "answers": ", ".join(network["outputs"]),
        "AUs": " ".join(in_order(au for au in network["aus"] if au[0] not in "LR")),
        "left and right": " ".join(in_order(au[1:] for au in network["aus"] if au[0] == "L")),
        "emotions": ", ".join(network["emotions"]) or "none of its own",
        "network": f"{network['model']}, {network['parameters']:,} parameters",
        "file": f"{network['bytes']:,} bytes ({bundle_text.size(network['bytes'])}), "
                f"{network['precision']}; its statistics {adapts} (`jaxfacs adapt`)",
        "trained": f"{network['step']} steps of {network['batch']} pictures",
        "licence": _licence(network),
        "version": f"jaxfacs {network['jaxfacs']}",
        "sha256": f"`{network['sha256']}` (of the manifest, as `jaxfacs inspect` tells it)",
    }  # fmt: skip
    return ["## What it is", table(("", ""), ((k, v) for k, v in rows.items() if v))]


def _licence(network: Mapping[str, Any]) -> str:
    if not network["rendered_only"]:
        return "see what `jaxfacs inspect` says: it did not learn from renders alone"
    told = "weights: Apache-2.0, learned from renders alone: from no real person, no dataset"
    if network["head"] == "ict":
        told += (
            ". The head that was rendered, ICT Face Model Light: MIT, its notice is in "
            "`LICENSE-ICT-FaceKit`"
        )
    return told


def _use() -> list[str]:
    return [
        "## What it is for, and what it must not be used for",
        wrapped(
            f"For {model_card.INTENDED}; for trying things out, for teaching, and as a start for "
            "training on coded data of your own. Not for:"
        ),
        bullets(NOT_FOR),
        wrapped(f"The law may forbid more, as {model_card.NOT_FOR[2]}."),
    ]


def _data(data: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    sets = [
        f"{part['splits']['train']['clips']:,} renders of {part['splits']['train']['subjects']:,} "
        f"people (records `{part['digest'][:12]}`)"
        for part in data["sets"]
        if "train" in part.get("splits", {})
    ]
    told = (
        f"It learned from {' and '.join(sets) or 'renders whose records are not known'}. None of "
        f"them exists. {data['held_out_people']:,} other people, {_checked(data)}, were kept for "
        "the measurements below. From one picture to the next these vary:"
    )
    parts = ["## What it learned from", wrapped(told)]
    parts.append(bullets(f"{kind}: {text}" for kind, text in data["varies"].items()))
    if data["left_out"]:
        parts.append(f"Switched off: {', '.join(data['left_out'])}.")
    if "renders" in pictures:
        parts.append(f"![Held-out rendered people and their AUs]({pictures['renders']})")
    if data["train"] is None:
        parts.append(wrapped(
            f"The measurements are on other records (`{data['digest'][:12]}`), so that how often "
            "each AU was shown in training is not told here."
        ))  # fmt: skip
        return parts
    train = data["train"]
    kinds = ("present", "absent", "unknown", *_LETTERS)
    rows = [
        (au, bundle_text.name(au), *(f"{train['aus'][au][kind]:,}" for kind in kinds))
        for au in in_order(au for au in train["aus"] if au[0] not in "LR")
    ]
    parts += [
        wrapped(
            f"Of {train['frames']:,} pictures of the training split these show each AU, and with "
            "these intensities (A trace, B slight, C marked, D severe, E maximum). A trace that no "
            "coder would swear to is unknown:"
        ),
        table(("AU", "", *kinds), rows),
    ]
    if train["bands"]:
        told_P = [
            (title, "; ".join(f"{band}: {count:,}" for band, count in bands))
            for title, bands in train["bands"]
        ]
        parts += ["How many people of the training split:", table(("", ""), told_P)]
    return parts


def _checked(data: Mapping[str, Any]) -> str:
    return {
        "digest": "the test split of the same records",
        "manifest": "none of whom is among those that the checkpoint says it learned from",
    }.get(data["people_checked"], "of whom nothing says whether it learned from them")


def _held_out(measured: Mapping[str, Any], network: Mapping[str, Any]) -> list[str]:
    mean = measured["mean"]
    aims = [
        _aim("mean AP", mean["ap"], AIMS["ap"], measured["ap_interval"], mean["ap_of"]),
        _aim("mean ICC(3,1) of the intensities", mean["icc"], AIMS["icc"], None, mean["icc_of"]),
    ]
    parts = [
        "## On rendered people that it never saw",
        wrapped(
            f"{measured['rows']:,} pictures of {measured['people']:,} people, answered by the file "
            "itself, calibrated and cut as `jaxfacs predict` does. Two aims were set before "
            "training:"
        ),
        bullets(aims),
        _per_au(measured),
        wrapped(
            "MAE is in letters of intensity (A = 1 … E = 5) over all pictures whose intensity is "
            "known; a random order has the base rate as AP. A rendered face is easier than a real "
            "one, and is labelled by what moved it, also where hardly anybody could see it."
        ),
    ]
    if emotion := measured["emotion"]:
        parts.append(wrapped(
            f"Emotion: of {emotion['rows']:,} pictures that show a published prototype "
            f"{number(emotion['accuracy'])} are named rightly; naming always the commonest would "
            f"be right in {number(emotion['commonest'])}."
        ))  # fmt: skip
    if report := network.get("report"):
        parts.append(wrapped(
            f"`jaxfacs evaluate` on its checkpoint and records (float32; sides are AUs of their "
            f"own): mean AP {number(report['ap'])}, calibration error "
            f"{number(report['ece_before'], 3)} before and {number(report['ece_after'], 3)} after "
            "calibration."
        ))  # fmt: skip
    return parts


def _per_au(measured: Mapping[str, Any]) -> str:
    head = ("AU", "n", "present", "people", "base rate", "AP", "AUC", "threshold", "F1",
            "ICC(3,1)", "MAE", "AP left, right")  # fmt: skip
    aus, mean = measured["aus"], measured["mean"]
    rows: list[tuple[Any, ...]] = []
    for au in in_order(au for au in aus if au[0] not in "LR"):
        row = aus[au]
        sides = [number(aus[x + au]["ap"]) for x in "LR" if x + au in aus]
        rows.append(
            (
                au,
                *(row[key] for key in ("known", "present", "people_present")),
                *(number(row[key]) for key in ("base_rate", "ap", "auc")),
                number(row["threshold"], 3),
                *(number(row[key]) for key in ("f1", "icc", "mae")),
                ", ".join(sides),
            )
        )
    means = [number(mean[key]) for key in ("base_rate", "ap", "auc", "f1", "icc", "mae")]
    sides_mean = number(measured["sides"]["ap"])
    rows.append(("**mean**", "", "", "", *means[:3], "", *means[3:], sides_mean))
    return table(head, rows)


def _aim(what: str, value: float | None, aim: float, interval: Any, count: int) -> str:
    if value is None:
        return f"{what} of {aim:.2f}: **not measured**"
    within = f" ({span(interval, 3)} in 95 % of bootstraps over people)" if interval else ""
    met = "met" if value >= aim else "**not met**"
    return f"{what} of {aim:.2f}: {met}, {value:.3f}{within} over {count} AUs"


def _groups(measured: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    parts = [
        "## By group, on the held-out renders",
        wrapped(
            "Here all of this is known exactly, as the renderer drew it. It says how the network "
            "treats **rendered** people; on real ones differences may be larger. Each table is "
            "over the AUs that occur often enough in each of its bands, so that its bands can be "
            "compared with each other, but not with other tables. Intervals: 95 % of bootstraps "
            "over people."
        ),
    ]
    if data["facts"] == "another version":
        parts.append(wrapped(
            "Skin, age, sex, pose and sensor are **not measured**: these records do not tell them, "
            "and another version rendered them, which drew other people."
        ))  # fmt: skip
    for group in measured["groups"]:
        parts += _group(group)
    return parts


def _group(group: Mapping[str, Any]) -> list[str]:
    told = any("confidence" in band for band in group["bands"])
    head = ["", "pictures", "people", "mean AP", "mean AUC", "mean F1", "interval"]
    rows = []
    for band in group["bands"]:
        row = [band["band"], band["rows"], band["people"]]
        row += [number(band.get(key)) for key in ("ap", "auc", "f1")] + [span(band.get("interval"))]
        rows.append([*row, number(band.get("confidence"))] if told else row)
    over = f"AP and AUC over AU {listed(group['aus']['ap'])}; " if group["by"] == "ap" else ""
    over += f"intervals are of {_BY[group['by']]}; "
    parts = [
        f"### {group['title']}",
        table([*head, "confidence"] if told else head, rows),
        wrapped(f"{compared(group)} {over}F1 over {len(group['aus']['f1'])} AUs."),
    ]
    if group["name"] == "melanin":
        parts.append(wrapped(
            "Melanin is the amount of pigment that the skin's colour was computed from. Its scale "
            "was fitted by eye to published swatches of Fitzpatrick's types I to VI, which follow "
            "each other along it from fair to deep; a band is not a type."
        ))  # fmt: skip
    return parts


def compared(group: Mapping[str, Any]) -> str:
    """A sentence on the difference between the best and the worst band."""
    apart = group["apart"]
    if apart is None:
        return "Too few pictures to compare the bands."
    told = (
        f"Best: {apart['best']}; worst: {apart['worst']}; they are {apart['by']:.3f} of "
        f"{_BY[group['by']]} apart"
    )
    if apart["interval"] is None:
        return f"{told}."
    surely = apart["interval"][0] > 0
    cause = "**more than chance explains**" if surely else "chance alone may explain it"
    return f"{told} ({span(apart['interval'], 3)}): {cause}."


def _confidence(measured: Mapping[str, Any]) -> list[str]:
    title, told = "## What it says of itself", measured["confidence"]
    if told is None:
        return [
            title,
            "It answers no confidence of its own: `confidence` is the detector's alone.",
        ]
    rows = [
        (f"{b['low']:.1f} - {b['high']:.1f}", b["rows"], number(b["said"]), number(b["right"]))
        for b in told["bins"]
    ]
    hidden = any(group["name"] == "hidden" for group in measured["groups"])
    more = " What it says as more of a face is hidden is in the tables above." if hidden else ""
    parts = [
        title,
        wrapped(
            "`confidence` is its estimate of the share that is right of the AUs which it or the "
            "truth calls present. On the held-out renders, without the detector's part in it:"
        ),
        table(("confidence", "pictures", "said on average", "right"), rows),
        wrapped(
            f"Over all it says {number(told['said'])} where {number(told['right'])} is right; "
            f"calibration error {number(told['error'], 3)}; the two correlate by "
            f"{number(told['correlation'])} from picture to picture.{more}"
        ),
    ]
    if told["threshold"] is None:
        parts.append("The file has no threshold of confidence: no answer is flagged as unsure.")
    else:
        parts.append(wrapped(
            f"Below {told['threshold']:.2f} an answer is flagged as unsure: {told['flagged']:,} of "
            f"{measured['rows']:,} pictures, in which {number(told['right_flagged'])} is right; of "
            f"the others {number(told['right_rest'])}."
        ))  # fmt: skip
    return parts


def _failures(card: Mapping[str, Any]) -> list[str]:
    lines = []
    for row in card["held_out"]["confused"]:
        beside = weak = ""
        if row["beside"]:
            beside = f", {row['beside_count']} of them on faces that show {row['beside']}"
        if row["missed_intensity"]:
            weak = f", of intensity {row['missed_intensity']:.1f} on average"
        lines.append(
            f"AU {row['au']} ({bundle_text.name(row['au'])}, AP {number(row['ap'])}): "
            f"{row['false_alarms']} false alarms{beside}; {row['missed']} missed{weak}"
        )
    parts = ["## Known failures", "The AUs of lowest AP on held-out renders:", bullets(lines)]
    if "failures" in card["pictures"]:
        parts += [
            wrapped(
                f"The surest wrong answers there ({len(card['failures'])} people, at most two of a "
                "kind). Above each picture what is wrong and the probability behind it; below it "
                "what is true (T) and what was said (S):"
            ),
            f"![The surest wrong answers on rendered faces]({card['pictures']['failures']})",
        ]
    parts.append(
        'What goes wrong on real faces is listed under "On real faces"; no picture of them is '
        "kept here."
    )
    return parts
