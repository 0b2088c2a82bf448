"""``python -m tops``: the same as the command ``tops``."""

import sys

from tops.cli.main import main

sys.exit(main())
