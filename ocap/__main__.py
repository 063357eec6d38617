"""The command `ocap`, also `python -m ocap`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the exit code."""
    try:
        from ocap.cli.app import run_app  # noqa: PLC0415 - an extra, which may not be installed

        return run_app(sys.argv[1:])
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("cyclopts", "rich"):
            print("ocap: the command line needs two more packages: pip install 'ocap[cli]'", file=sys.stderr)
            return 2
        raise
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
