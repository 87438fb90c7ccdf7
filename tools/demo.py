"""`make demo`: the whole product on real parts, in a few minutes, on two cores and no network.

Renders faces with known AUs into records, trains on two simulated devices, kills the training
once and lets it resume, evaluates on people it has not seen, exports, renders a film of one more
person who shows each emotion, and reads that film. Every command is printed as it could be typed.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[1]
MARK = ".jaxfacs-demo"  # only a folder that carries it is emptied for the next run
DEVICES = 2
KILL_AFTER_STEP = 150  # the config saves every 100 steps, so work is lost and has to be done again
FILM_SEED, FILM_SUBJECT = 2024, 987_654  # nobody among the records: their seeds are mixed
EMOTIONS = ("happiness", "sadness", "surprise", "fear", "anger", "disgust")
# A few hundred renders teach a small network the actions, not hands and bad cameras besides.
WITHOUT = ("occlusion", "camera", "wear", "shadow", "people", "speech", "range")
NEUTRAL_MARGIN_S = 0.3  # a label changes where the face is still moving


def main() -> int:
    """Runs the demo; returns 0 if the network plainly learned, 1 if not."""
    arguments = _arguments()
    out: Path = arguments.out
    _clear(out)
    started = time.monotonic()
    head = ["--head", str(arguments.head)] if arguments.head else []

    _say("1. Faces whose AUs are known exactly, as sharded records")
    _run(
        *("data", "build", "synthface", "--out", out / "records", "--clips", arguments.clips),
        *("--frames", 4, "--fps", 12.5, "--size", 64, "--subjects", max(arguments.clips // 3, 6)),
        *(
            "--near-frontal",
            "--detector",
            "none",
            "--seed",
            1,
            "--without",
            ",".join(WITHOUT),
            *head,
        ),
    )
    _run("data", "show", out / "records", "--out", out / "plots")

    _say(f"2. Training on {DEVICES} simulated devices; killed once, then the same command again")
    train = ["train", REPOSITORY / "configs/demo.py", "--workdir", out / "run"]
    train += ["--data.source", out / "records"]
    _run_and_kill(*train, workdir=out / "run")
    _run(*train)

    _say("3. How good is it on people it has never seen?")
    _run("evaluate", "--workdir", out / "run", "--split", "test")
    learned = _report(out / "run")

    _say("4. One file for inference")
    bundle = out / "demo.jaxfacs"
    _run("export", "--workdir", out / "run", "--out", bundle)

    _say("5. A film of one more person, who shows each emotion, and what the network reads in it")
    film = _render_film(out, arguments.head)
    _run("predict", film, "--model", bundle, "--out", out / "prediction", "--overlay")
    _compare(film, out / "prediction")

    others = arguments.films or _shared_films()
    if others:
        _say("6. Other films")
        _run("predict", *others, "--model", bundle, "--out", out / "prediction_others", "--overlay")

    _say(f"Done in {time.monotonic() - started:.0f} s. What is where:")
    for path, what in _results(out, bool(others)):
        print(f"  {path!s:<44} {what}")
    print(
        "\nThis network saw a few hundred renders of one made-up head. It shows that the parts work"
        "\ntogether. It is not for real faces: what it says of them means nothing."
    )
    return 0 if learned else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("films", nargs="*", type=Path, help="your own films, predicted as well")
    parser.add_argument("--out", type=Path, default=Path("demo_out"))
    parser.add_argument("--clips", type=int, default=900, help="rendered clips of 4 frames")
    parser.add_argument("--head", type=Path, help="folder of the ICT Face Model Light")
    return parser.parse_args()


def _clear(out: Path) -> None:
    if out.exists() and not (out / MARK).exists():
        sys.exit(f"{out} exists and is not of an earlier demo; give another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _command(*words: object) -> list[str]:
    print("$ jaxfacs " + shlex.join(str(word) for word in words), flush=True)
    return [sys.executable, "-m", "jaxfacs", *(str(word) for word in words)]


def _environment() -> dict[str, str]:
    # The compiled programs are kept, so that the resumed run does not compile again.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".jax_cache")}
    return {**cache, **os.environ, "JAX_NUM_CPU_DEVICES": str(DEVICES)}


def _run(*words: object) -> None:
    done = subprocess.run(_command(*words), env=_environment())
    if done.returncode:
        sys.exit(f"the demo stopped: that command ended with code {done.returncode}")


def _run_and_kill(*words: object, workdir: Path) -> None:
    """Runs the training and kills it (SIGKILL: nothing can be tidied up) after some steps."""
    process = subprocess.Popen(_command(*words), env=_environment())
    while process.poll() is None and _last_step(workdir) < KILL_AFTER_STEP:
        time.sleep(0.2)
    if process.poll() is not None:
        sys.exit(f"the demo stopped: training ended early with code {process.returncode}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"-- killed with SIGKILL after step {_last_step(workdir)}", flush=True)


def _last_step(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return 0
    steps = [0]
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            steps.append(json.loads(line)["step"])
        except json.JSONDecodeError:  # the line that is being written
            break
    return max(steps)


def _report(workdir: Path) -> bool:
    """Prints mean AP on unseen people beside the base rate; whether it is well above."""
    paths = sorted((workdir / "evaluation" / "test").glob("*/report.json"))
    report = json.loads(paths[-1].read_text(encoding="utf-8"))
    precision = report["mean"]["average_precision"]["value"]
    chance = report["mean"]["chance_ap"]["value"]
    print(f"-- mean AP on people never seen: {precision:.3f}; by chance (base rate): {chance:.3f}")
    return precision > 2 * chance


def _render_film(out: Path, head: Path | None) -> Path:
    from jaxfacs.synthface import clip as synthface
    from jaxfacs.synthface.variation import Variation

    made = synthface.film(
        FILM_SEED,
        subject=FILM_SUBJECT,
        path=out / "film.mp4",
        emotions=EMOTIONS,
        size=192,
        fps=12.5,
        head=synthface.load_head(None if head is None else str(head)),
        variation=Variation.without(*WITHOUT),
    )
    print(f"-- rendered {made.path}, {made.frames} frames; its true labels are in {made.csv_path}")
    return made.path


def _compare(film: Path, prediction: Path) -> None:
    """Prints how the intensities read agree with the true ones, and which emotions were named."""
    truth = _columns(film.with_suffix(".csv"))
    read = _columns(prediction / film.with_suffix(".csv").name)
    found = _numbers(read["success"]) == 1
    print(f"-- a face was found in {found.sum()} of {len(found)} frames")
    agreement = {}
    for name in read:
        if name.endswith("_r") and name in truth:
            true, seen = _numbers(truth[name]), _numbers(read[name])
            use = found & (true >= 0)
            if true[use].std() > 0 and seen[use].std() > 0:
                agreement[name.removesuffix("_r")] = float(np.corrcoef(true[use], seen[use])[0, 1])
    shown = ", ".join(f"{name} {r:.2f}" for name, r in agreement.items())
    print(f"-- correlation of intensities read with the true ones: {shown}")
    print(f"-- mean over {len(agreement)} AUs: {np.mean(list(agreement.values())):.2f}")
    emotions = [e for e in EMOTIONS if e in read]
    scores = np.array([_numbers(read[e]) for e in emotions])
    for emotion in EMOTIONS:
        frames = np.flatnonzero((np.array(truth["emotion"]) == emotion) & found)
        if len(frames):
            order = np.argsort(-scores[:, frames].mean(axis=1))[:2]
            named = ", ".join(f"{emotions[i]} {scores[i, frames].mean():.2f}" for i in order)
            print(f"-- where the face showed {emotion:<10} the rules named {named}")


def _columns(path: Path) -> dict[str, list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def _numbers(cells: list[str]) -> np.ndarray:
    """Cells as numbers; an empty one (no face in that frame) is NaN."""
    return np.array([float(cell) if cell else np.nan for cell in cells])


def _shared_films() -> list[Path]:
    film = REPOSITORY.parent / "shared" / "data" / "faces" / "single_face.mp4"
    return [film] if film.exists() else []


def _results(out: Path, others: bool) -> list[tuple[Path, str]]:
    rows = [
        (out / "records", "the dataset: sharded records, labels.json"),
        (out / "plots", "occurrence and intensity of the dataset, a sheet of samples"),
        (out / "run/checkpoints", "Orbax checkpoints with digests"),
        (out / "run/metrics.jsonl", "loss and validation, step by step"),
        (out / "run/evaluation/test", "report.md, report.json, PR curves, confusion sheet"),
        (out / "demo.jaxfacs", "the bundle: network, weights, labels, thresholds"),
        (out / "film.mp4", "the rendered film; film.csv holds its true labels"),
        (out / "prediction/film.csv", "AUs and emotions of every frame"),
        (out / "prediction/film.overlay.mp4", "the film with box, regions and bars"),
    ]
    if others:
        rows.append((out / "prediction_others", "the same of the other films"))
    for path, _ in rows:
        if not path.exists():
            sys.exit(f"the demo is incomplete: {path} is missing")
    return rows


if __name__ == "__main__":
    sys.exit(main())
