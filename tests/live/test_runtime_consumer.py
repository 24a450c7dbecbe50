"""`python -m runtime consumer`: which signals do what, and what it says of errors."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import otlp_receiver as otlp
from tests.live.processes import Program, alive
from tests.support.programs import ROOT
from tests.support.waiting import wait_until

ENQUEUE = "from runtime.shop.tasks import resize_photo; resize_photo('photo', 320, {})"
EXECUTING = "Executing runtime.shop.tasks.resize_photo"
EXECUTED = "executed in "


@pytest.fixture
def busy(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[..., Program]:
    """Starts a consumer of the shop, with one task that takes *seconds*."""

    def start(kind: str, seconds: float = 1.5) -> Program:
        environ = {"SHOP_REDIS_URL": redis_url}
        program = Program(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "-k", kind, "-w", "1"),
            log=tmp_path / "consumer.log",
            environ=environ,
        )
        keep(program)
        enqueue = ENQUEUE.format(seconds)
        producer = Program("-c", enqueue, log=tmp_path / "load.log", environ=environ)
        keep(producer)
        assert producer.wait() == 0
        wait_until(lambda: EXECUTING in program.log)
        # Behind its own signal handlers, too.
        wait_until(lambda: " observes" in program.log)
        return program

    return start


@pytest.fixture(params=["process", "thread", "greenlet"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_sigterm_lets_the_task_finish(busy: Callable[..., Program], kind: str) -> None:
    consumer = busy(kind)

    assert consumer.stop(signal.SIGTERM) == 0

    assert EXECUTED in consumer.log


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM] * 2])
def test_sigint_or_a_second_sigterm_does_not(
    signals: list[signal.Signals], busy: Callable[..., Program], kind: str
) -> None:
    # Longer than a busy machine takes until the signals arrive.
    consumer = busy(kind, 30.0)
    workers = consumer.children()

    *first, last = signals
    for signum in first:
        consumer.send(signum)
        wait_until(lambda: "Shutting down" in consumer.log)

    assert consumer.stop(last) == 0
    assert EXECUTED not in consumer.log
    assert not any(map(alive, workers))


def test_sighup_restarts_it(busy: Callable[..., Program], kind: str) -> None:
    consumer = busy(kind)

    consumer.send(signal.SIGHUP)
    wait_until(lambda: consumer.log.count(" observes") == 2)

    assert EXECUTED in consumer.log
    assert consumer.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("endpoint", [True, False], ids=["traced", "untraced"])
def test_log_names_the_span_that_a_line_belongs_to(
    *,
    endpoint: bool,
    kind: str,
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    with otlp.receiver() as receiver:
        environ = {"SHOP_REDIS_URL": redis_url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        consumer = Program(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "-k", kind),
            log=tmp_path / "consumer.log",
            environ=environ | (receiver.environ if endpoint else {}),
        )
        keep(consumer)
        enqueue = "from runtime.shop.tasks import charge_card; charge_card(1, 9.5, 9)"
        producer = Program("-c", enqueue, log=tmp_path / "load.log", environ=environ)
        keep(producer)
        assert producer.wait() == 0
        wait_until(lambda: consumer.log.count("DeclinedError: ") == 3)
        consumer.wait_until_it_consumes()
        assert consumer.stop(signal.SIGTERM) == 0
        spans = {
            f" trace_id={span.trace_id} span_id={span.span_id}"
            for span in receiver.spans
            if span.name.startswith("process ")
        }

    failed = re.findall(r" ERROR \S+ huey(.*): Unhandled exception in", consumer.log)
    assert len(failed) == 3
    assert set(failed) == (spans if endpoint else {""})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("huey", "expected the path of a Huey instance, MODULE.NAME"),
        ("runtime.nothing.huey", "there is no module 'runtime.nothing'"),
        (
            "runtime.shop.hueyy",
            "'runtime.shop' has no Huey instance 'hueyy'; it has huey",
        ),
        ("os.path.join", "'os.path' has no Huey instance 'join'; it has none"),
    ],
)
def test_wrong_path_says_what_is_accepted(path: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "consumer", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
