"""Options written after a name: "me_graphau:stage=2,backbone=resnet50"."""

from jaxfacs.errors import UserError

Option = bool | int | float | str


def split(text: str) -> tuple[str, dict[str, Option]]:
    """(name, options) of "NAME" or "NAME:KEY=VALUE,KEY=VALUE".

    A value is true, false, an integer or a number where it can be read as one, else the text
    itself. Raises UserError for anything else after the colon.
    """
    name, colon, rest = text.partition(":")
    options: dict[str, Option] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = part.partition("=")
        if not (key.isidentifier() and equals and value) or key in options:
            raise UserError(
                f"'{part}' in '{text}' is not KEY=VALUE, each key once; "
                f"write for example {name}:stage=1,fold=2"
            )
        options[key] = _value(value)
    return name, options


def _value(text: str) -> Option:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
