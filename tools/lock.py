"""Prints requirements.lock: the installed versions of everything that jaxfacs[test] needs.

Walks the dependencies from the project's own metadata, so that what a developer installed by hand
(PyTorch for the benchmarks, say) stays out of the lock.
"""

from importlib import metadata

from packaging.requirements import Requirement

HEADER = """\
# What was tested, version by version. Made by `make lock`; pip install -r requirements.lock
"""


def closure(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> None:
    key = name.lower().replace("_", "-")
    if key in seen and extras <= seen[key]:
        return
    seen.setdefault(key, set()).update(extras)
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        wanted = marker is None or any(
            marker.evaluate({"extra": extra}) for extra in (seen[key] | {""})
        )
        if wanted:
            closure(requirement.name, frozenset(requirement.extras), seen)


def main() -> None:
    seen: dict[str, set[str]] = {}
    closure("jaxfacs", frozenset({"test"}), seen)
    print(HEADER, end="")
    for name in sorted(seen.keys() - {"jaxfacs"}):
        print(f"{name}=={metadata.version(name).split('+')[0]}")


if __name__ == "__main__":
    main()
