"""The command `ocap`, also `python -m ocap`."""

from __future__ import annotations

import sys

from ocap.extras import MissingExtraError


def main() -> int:
    """Run the command line; the exit code."""
    try:
        from ocap.cli.app import run_app  # noqa: PLC0415 - an extra, which may not be installed

        return run_app(sys.argv[1:])
    except MissingExtraError as error:
        print(f"ocap: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
