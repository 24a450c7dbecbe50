"""Runs what has just failed once more, alone: python -m tests.once_more [OPTION...].

The suite runs four tests at a time, with the processes that each of them starts; on a
busy machine one may wait in vain for its turn. The first failure stays in the output.
More than three failures are never due to the machine, and are not run again.
"""

import json
import sys
from pathlib import Path

import pytest

FAILED = Path(".pytest_cache/v/cache/lastfailed")
AT_MOST = 3


def main(options: list[str]) -> int:
    """The exit code of the second run, or 1 if there is none."""
    failed = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if not 0 < len(failed) <= AT_MOST:
        sys.stdout.write(f"{len(failed)} failures: not run again\n")
        return 1
    code = pytest.main([*options, *failed])
    outcome = "PASSED ONLY ALONE" if code == 0 else "FAILED AGAIN"
    named = "\n  ".join([f"{outcome}, a fault to mend:", *failed])
    sys.stdout.write(f"{named}\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
