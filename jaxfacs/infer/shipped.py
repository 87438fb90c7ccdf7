"""The weights that come with the package, by name: `default` and those beside it."""

from pathlib import Path

from jaxfacs.errors import UserError

FOLDER = Path(__file__).parents[1] / "weights"
DEFAULT = "default"
NAMES = (DEFAULT, "clip")  # a network of single frames, and one of clips
SUFFIX = ".jaxfacs"


def find(model: str | Path = DEFAULT) -> Path:
    """The file of a model: of shipped weights by their name, else the path itself.

    A file that is really called as such weights is named with its folder: "./default".

    Raises:
      UserError: these weights are not in this installation; says how to make them.
    """
    if str(model) not in NAMES:
        return Path(model)
    path = FOLDER / f"{model}{SUFFIX}"
    if not path.is_file():
        raise UserError(
            f"this installation has no weights '{model}' ({path} is not there); train and export "
            "them as docs/weights.md says, or name a model file"
        )
    return path
