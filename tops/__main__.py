"""``python -m tops``: the same as the command ``tops``."""

import sys

from tops.cli import main

sys.exit(main())
