"""What is installed must do on its own; run by `make package`, not by pytest."""

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from huey import MemoryHuey

import huey_otel

PACKAGE = Path(huey_otel.__file__).parent


def main() -> None:
    assert PACKAGE.is_relative_to(sys.prefix), PACKAGE
    assert (PACKAGE / "py.typed").is_file()
    assert importlib.util.find_spec("runtime") is None
    assert importlib.util.find_spec("tests") is None

    huey = MemoryHuey("smoke")

    @huey.task()
    def add(a: int, b: int) -> int:
        return a + b

    command = Path(sys.prefix) / "bin" / "huey-otel"
    help_texts = [
        subprocess.run([*start, "--help"], capture_output=True, check=True).stdout
        for start in ([command], [sys.executable, "-I", "-m", "huey_otel"])
    ]
    assert help_texts[0] == help_texts[1]
    assert b"tail" in help_texts[0]

    with huey_otel.instrument(huey):
        result = add(1, 2)
        huey.execute(huey.dequeue())
        assert result() == 3

    print(f"{PACKAGE}: huey-otel {version('huey-otel')} works")  # noqa: T201


if __name__ == "__main__":
    main()
