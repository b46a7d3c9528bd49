"""`python -m folio` and the `folio` command."""

from __future__ import annotations

import os
import sys

from folio.cli import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    # OpenMP reads this when torch is imported. Threads that wait by spinning take the core from the one they wait for
    # as soon as any other program runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run())


if __name__ == "__main__":
    main()
