"""`jaxfacs inspect`: what a bundle reads and answers, what it was made of, what it is not for."""

from json import dumps

import tyro

from jaxfacs.infer import bundle as bundles
from jaxfacs.infer import bundle_text, compiled, shipped


def inspect(file: tyro.conf.Positional[str] = shipped.DEFAULT, /, *, json: bool = False) -> int:
    """Show what a bundle reads and answers, where it comes from, and what it is not for.

    Every part is compared with its sha256 first: exit code 2, with one line that names the damaged
    parts, if one is not what was written, or if the bundle is of a newer format.

    Args:
      file: what `jaxfacs export` wrote, or the name of weights that come with the package
      json: the manifest as JSON, with the file's size, platforms and outputs, for programs
    """
    bundle = bundles.read(shipped.find(file))
    platforms, outputs = compiled.described(bundle)
    if json:
        found = {
            "file": str(bundle.path),
            "bytes": bundle.path.stat().st_size,
            "platforms": platforms,
            "outputs": outputs,
            **bundle.manifest,
        }
        print(dumps(found, indent=1, sort_keys=True))
        return 0
    for line in bundle_text.lines(bundle, platforms=platforms, outputs=outputs):
        print(line)
    return 0
