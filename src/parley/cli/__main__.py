"""``python -m parley.cli``: the same as the command ``parley``."""

import sys

from parley.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
