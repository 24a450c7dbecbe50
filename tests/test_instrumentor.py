"""The instrumentor: every huey of a process, without a word in the application."""

import subprocess
import sys

import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.serializer import Serializer
from huey.storage import MemoryStorage

from huey_otel import Instrumentation, instrument
from huey_otel._instrumentor import HueyInstrumentor
from huey_otel._safety.losses import Losses
from huey_otel._setup.instrument import instrumentation_of
from tests.support.recorded import Drain
from tests.support.spans import Spans


@pytest.fixture
def instrumentor():
    instrumentor = HueyInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def test_hueys_that_are_made_later_are_traced(instrumentor, spans):
    instrumentor.instrument(tracer_provider=spans.provider)
    huey = MemoryHuey("later")

    @huey.task()
    def add():
        pass

    add()
    Drain(huey)()

    assert spans.trees == [{"enqueue add": {"process add": {}}}]


def test_hueys_that_exist_are_traced(huey, drain, instrumentor, spans):
    @huey.task()
    def add():
        pass

    instrumentor.instrument(tracer_provider=spans.provider)
    add()
    drain()

    assert spans.trees == [{"enqueue add": {"process add": {}}}]


def test_uninstrument_puts_every_class_back(huey, instrumentor, spans):
    init = Huey.__init__
    instrumentor.instrument(tracer_provider=spans.provider)
    later = MemoryHuey("later")

    instrumentor.uninstrument()

    assert Huey.__init__ is init
    assert [type(one) for one in (huey, later)] == [MemoryHuey, MemoryHuey]
    assert type(MemoryHuey("last")) is MemoryHuey


def test_the_instrumentor_can_be_used_again(instrumentor):
    instrumentor.instrument()
    instrumentor.uninstrument()
    instrumentor.instrument(propagation="link")

    assert instrumentation_of(MemoryHuey("later")) is not None


def test_a_call_by_the_application_replaces_the_instrumentors(instrumentor, spans):
    instrumentor.instrument(span_naming="queue")
    huey = MemoryHuey("later")
    automatic = instrumentation_of(huey)

    mine = instrument(huey, tracer_provider=spans.provider)
    instrumentor.uninstrument()

    @huey.task()
    def add():
        pass

    add()
    Drain(huey)()
    assert isinstance(automatic, Instrumentation)
    assert instrumentation_of(huey) is mine is instrument(huey) is not automatic
    assert spans.trees == [{"enqueue add": {"process add": {}}}]


def test_a_huey_that_the_application_instrumented_is_left_alone(huey, instrumentor):
    mine = instrument(huey)

    instrumentor.instrument()
    instrumentor.uninstrument()

    assert instrumentation_of(huey) is mine


def test_a_storage_set_after_hueys_own_init_is_observed(instrumentor, spans):
    class Queue(MemoryHuey):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.serializer = Serializer(compression=True)
            self.storage = MemoryStorage("of my own")

    instrumentor.instrument(tracer_provider=spans.provider)
    huey = Queue("later")

    @huey.task()
    def add():
        pass

    add()
    Drain(huey)()

    assert spans.trees == [{"enqueue add": {"process add": {}}}]
    with pytest.raises(Exception, match="no Redis carries the events of"):
        iter(huey.storage)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"propagation": "sideways"}, ValueError), ({"colour": "red"}, TypeError)],
    ids=["value", "name"],
)
def test_an_option_that_is_not_accepted_raises_at_once(instrumentor, options, error):
    init = Huey.__init__

    with pytest.raises(error, match=r"accepted are|expected one of"):
        instrumentor.instrument(**options)

    assert Huey.__init__ is init


def test_a_huey_that_cannot_be_instrumented_works(instrumentor, losses: Losses):
    class Stubborn(MemoryHuey):
        def __init_subclass__(cls, *, colour, **kwargs):
            super().__init_subclass__(**kwargs)

    instrumentor.instrument()
    huey = Stubborn("later")

    assert type(huey) is Stubborn
    assert huey.name == "later"
    assert losses.counts() == {"internal": 1}


def test_disabled_it_touches_nothing(instrumentor, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    instrumentor.instrument()

    assert type(MemoryHuey("later")) is MemoryHuey


def test_importing_huey_otel_needs_no_opentelemetry_instrumentation():
    code = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.instrumentation"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from huey import MemoryHuey
from huey_otel import instrument
instrument(MemoryHuey())
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


def test_a_wrong_variable_turns_off_only_huey_otel(monkeypatch, caplog):
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "http")
    instrumentor = HueyInstrumentor()

    instrumentor.instrument()
    huey = MemoryHuey("my-app")
    instrumentor.uninstrument()

    assert type(huey) is MemoryHuey
    assert caplog.messages == [
        "huey-otel is off: HUEY_OTEL_METRICS_PORT='http': expected a port from 0"
        " (a free one) to 65535, or off (None) for no metrics page"
    ]


def test_a_wrong_argument_raises(monkeypatch):
    with pytest.raises(ValueError, match="metrics_port"):
        HueyInstrumentor().instrument(metrics_port=-1)
