"""The steps of the Dockerfile without an engine: built, run, asked, ended."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.processes import Program
from tests.live.scraping import fetch, url_of
from tests.support.image import Image, command, final
from tests.support.programs import free_port
from tests.support.waiting import wait_until

ENQUEUE = "from runtime.shop.tasks import resize_photo; resize_photo('photo', 320, 2)"


@pytest.fixture
def image() -> Iterator[Image]:
    # Not pytest's tmp_path, which no other user may enter.
    root = Path(tempfile.mkdtemp(prefix="test-image-"))
    root.chmod(0o755)
    yield Image(root)
    shutil.rmtree(root)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_image_runs_as_its_user_says_that_it_is_well_and_drains(
    image: Image,
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    image.build()
    before = image.files()
    port = str(free_port())
    environ = {"SHOP_REDIS_URL": redis_url, "HUEY_OTEL_METRICS_PORT": port}

    def start(arguments: list[str], log: str) -> Program:
        executable, rest = image.program(arguments, **environ)
        program = Program(*rest, log=tmp_path / log, environ={}, executable=executable)
        keep(program)
        return program

    consumer = start(command(final("CMD")), "consumer.log")

    def health() -> tuple[int, str]:
        executable, rest = image.program(command(final("HEALTHCHECK")), **environ)
        asked = subprocess.run([executable, *rest], capture_output=True, text=True)
        return asked.returncode, asked.stdout

    wait_until(lambda: health() == (0, "200 ok\n"))
    assert real_user(consumer.pid) == (
        int(final("USER").split(":")[0]) if os.geteuid() == 0 else os.geteuid()
    )
    assert fetch(url_of(int(port)))[0] == 200
    assert start(["python", "-c", ENQUEUE], "producer.log").wait() == 0
    wait_until(lambda: "Executing runtime.shop.tasks.resize_photo" in consumer.log)

    assert consumer.stop(signal.SIGTERM) == 0

    assert "executed in 2.0" in consumer.log
    code, said = health()
    assert code == 1
    assert said.startswith(f"127.0.0.1:{port} does not answer: ")
    assert image.files() == before


def real_user(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    raise AssertionError
