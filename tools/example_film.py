"""Renders the example film of the web page: one made-up person, several emotions, as WebM.

    python tools/example_film.py

Browsers play VP9 in WebM; what `synthface.film` writes (MPEG-4 part 2) they do not. The encoder is
ffmpeg, which is needed to make the film anew and for nothing else. Only rendered faces ship here.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from jaxfacs.synthface import clip as synthface

EXAMPLES = Path(__file__).parents[1] / "jaxfacs" / "serve" / "page" / "examples"
LARGEST = 600_000  # bytes: it ships with every installation
FPS = 25.0


def main() -> int:
    """Renders, encodes, lists; returns 0, or 1 if the film came out too large."""
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    target = arguments.out / f"{arguments.name}.webm"
    with tempfile.TemporaryDirectory() as folder:
        raw = synthface.film(
            arguments.seed,
            subject=arguments.subject,
            path=Path(folder) / "raw.mp4",
            emotions=arguments.emotions,
            size=arguments.size,
            fps=FPS,
        )
        print(f"{raw.frames} frames, {raw.frames / FPS:.1f} s")
        _encode(raw.path, target)
    entry = {"name": arguments.name, "title": arguments.title, "film": target.name}
    listed = json.dumps([entry], indent=1) + "\n"
    (arguments.out / "examples.json").write_text(listed, encoding="utf-8")
    size = target.stat().st_size
    print(f"{target}: {size / 1000:.0f} kB")
    return int(size > LARGEST)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=EXAMPLES)
    parser.add_argument("--name", default="expressions")
    parser.add_argument("--title", default="Happiness, surprise, anger")
    parser.add_argument("--emotions", nargs="+", default=["happiness", "surprise", "anger"])
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--subject", type=int, default=103)
    parser.add_argument("--size", type=int, default=400, help="pixels of a side")
    return parser.parse_args()


def _encode(raw: Path, target: Path) -> None:
    """A key frame every second, so that a browser seeks at once."""
    words = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(raw), "-an", "-c:v", "libvpx-vp9"]
    words += ["-b:v", "0", "-crf", "34", "-g", str(round(FPS)), "-pix_fmt", "yuv420p", str(target)]
    try:
        subprocess.run(words, check=True)
    except FileNotFoundError:
        sys.exit("ffmpeg is needed to encode the film; install it")


if __name__ == "__main__":
    sys.exit(main())
