"""`python -m huey_otel` is the command `huey-otel`."""

import sys

from huey_otel.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
