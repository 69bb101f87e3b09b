"""`python -m codert` is `codert`."""

import sys

from codert.cli import main

sys.exit(main())
