"""`python -m runtime.prometheus.rules [SETTINGS.toml] [DIRECTORY]` writes the files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.prometheus.rules.files import OBJECTIVES, RULES, SLOTH, files
from runtime.prometheus.rules.settings import DEFAULTS, SettingsError, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, and say which. Returns the exit code: 2 for wrong settings."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.prometheus.rules",
        description=f"Writes {RULES}, and for objectives {OBJECTIVES} and {SLOTH}.",
    )
    parser.add_argument(
        "settings",
        nargs="?",
        type=Path,
        help=f"a TOML file with what differs from {DEFAULTS.name}; default: nothing",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path(),
        help="where the files are written; default: here",
    )
    given = parser.parse_args(arguments)
    try:
        made = files(read(given.settings))
        for name, text in made.items():
            path = given.directory / name
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")
    except SettingsError as error:
        sys.stderr.write(f"{given.settings}: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
