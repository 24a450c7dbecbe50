"""`python -m runtime`: a consumer, a sample shop's page, a load for it, and a demo."""

import argparse
import sys
from importlib import import_module

COMMANDS = {
    "consumer": "runtime.consumer",
    "healthcheck": "runtime.healthcheck",
    "web": "runtime.shop.web",
    "load": "runtime.load.run",
    "demo": "runtime.demo.run",
}


def main() -> int:
    """Run the command with its arguments, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description=__doc__,
        epilog="Each command explains itself with --help.",
    )
    parser.add_argument("command", choices=COMMANDS, help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args()
    code: int = import_module(COMMANDS[options.command]).main(options.arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
