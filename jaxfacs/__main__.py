"""`python -m jaxfacs` is the same as the `jaxfacs` command."""

import sys

from jaxfacs.cli import main

sys.exit(main())
