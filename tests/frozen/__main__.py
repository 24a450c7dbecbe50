"""Writes the names of the version that is to be released."""

import sys

from tests.frozen.names import FOLDER, current, is_released, version, written

if is_released(version()):
    sys.exit(f"{version()} is released: its names stay. Raise the version first.")
(FOLDER / f"{version()}.json").write_text(written(version(), current()))
