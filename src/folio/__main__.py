"""`python -m folio` and the `folio` command."""

from __future__ import annotations

import sys

from folio.cli import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
