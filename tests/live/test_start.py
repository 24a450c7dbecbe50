"""What docs/start.md says, done in its order."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.live.processes import Program
from tests.live.scraping import serves_anything
from tests.support.programs import free_port, missing, snippet
from tests.support.waiting import wait_until

BIN = Path(sys.executable).parent
UNCHANGED = """
from huey import RedisHuey

huey = RedisHuey("my-app")


@huey.task()
def add(a, b):
    return a + b
"""

Shell = Callable[[str], Program]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def shell(
    tmp_path: Path, keep: Callable[[Program], Program], redis_url: str, port: int
) -> Shell:
    """Runs a command in the folder of `app.py`, as in a terminal of its own."""
    numbers = iter(range(100))

    def run(command: str) -> Program:
        said = command.replace("localhost:9464", f"localhost:{port}")
        return keep(
            Program(
                *("-c", f"cd {tmp_path}\n{said}"),
                log=tmp_path / f"log{next(numbers)}",
                environ={
                    "HUEY_OTEL_METRICS_PORT": str(port),
                    "PATH": f"{BIN}{os.pathsep}{os.defpath}",
                },
                pythonpath=str(tmp_path),
                executable="/bin/sh",
            )
        )

    return run


def save(source: str, url: str, folder: Path) -> None:
    """Write *source* as `app.py`, with its queue on the tests' Redis."""
    moved = source.replace('("my-app")', f'("my-app", url="{url}")')
    assert moved != source
    (folder / "app.py").write_text(moved)


def output(program: Program) -> str:
    wait_until(lambda: not program.running)
    return program.log


def test_what_the_page_shows_is_seen(
    shell: Shell, port: int, redis_url: str, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        missing("curl")
    save(snippet("docs/start.md", "app"), redis_url, tmp_path)

    consumer = shell("exec " + snippet("docs/start.md", "consumer"))
    wait_until(lambda: serves_anything(port))
    tail = shell("exec " + snippet("docs/start.md", "tail"))
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.pubsub_numsub("myapp")[0][1] == 1)
    said = output(shell(snippet("docs/start.md", "task")))

    assert said == "3\n"
    counted = snippet("docs/start.md", "counted")
    metrics = snippet("docs/start.md", "metrics")
    wait_until(lambda: output(shell(metrics)) == counted)
    wait_until(lambda: '"finished"' in tail.log)
    spans = output(shell(snippet("docs/start.md", "console")))
    assert '"name": "enqueue app.add"' in spans
    found = output(shell(snippet("docs/start.md", "check")))
    assert "error" not in found
    assert "looked at queue my-app" in found
    shown = snippet("docs/start.md", "start line")
    shown = shown.replace("localhost:9464", f"localhost:{port}")
    server = redis_url.removesuffix("/0")
    assert shown.replace("redis://localhost:6379", server) in consumer.log


def test_a_program_is_observed_without_a_change(
    shell: Shell, port: int, redis_url: str, tmp_path: Path
) -> None:
    install, command = snippet("docs/start.md", "zero code").splitlines()
    assert install.startswith("pip install 'huey-otel[instruments] @ git+https://")
    save(UNCHANGED, redis_url, tmp_path)

    consumer = shell(f"exec {command}")
    wait_until(lambda: serves_anything(port))
    said = output(shell(snippet("docs/start.md", "task")))

    assert said == "3\n"
    assert "observes\n  queue: my-app\n" in consumer.log
