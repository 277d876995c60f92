"""`python -m pullback`: the command of `pullback.cli`."""

from __future__ import annotations

import sys

from pullback.cli import main

if __name__ == "__main__":
    sys.exit(main())
