"""The command `ocap`, also `python -m ocap`."""

from __future__ import annotations

import sys

_EXTRAS = {
    "cyclopts": "the command line needs two more packages: pip install 'ocap[cli]'",
    "rich": "the command line needs two more packages: pip install 'ocap[cli]'",
    "prometheus_client": "metrics need two more packages: pip install 'ocap[metrics]'",
    "prompt_toolkit": "the prompt needs one more package: pip install 'ocap[repl]'",
    "hypercorn": "metrics need two more packages: pip install 'ocap[metrics]'",
    **dict.fromkeys(
        ("starlette", "jinja2", "tomli_w"), "the control panel needs four more packages: pip install 'ocap[panel]'"
    ),
}
"""By what is missing: what to say."""


def main() -> int:
    """Run the command line; the exit code."""
    try:
        from ocap.cli.app import run_app  # noqa: PLC0415 - an extra, which may not be installed

        return run_app(sys.argv[1:])
    except ModuleNotFoundError as error:
        advice = _EXTRAS.get((error.name or "").partition(".")[0])
        if advice is not None:
            print(f"ocap: {advice}", file=sys.stderr)
            return 2
        raise
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
