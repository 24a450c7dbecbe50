"""EVENT_* on `huey.consumer`, whenever an application imports that."""

import subprocess
import sys

import pytest

from huey_otel import events

# wrapt's finder asks all others for the module, as ours does.
WRAPT = "import wrapt; wrapt.when_imported('huey.consumer')(lambda module: None)"
SHOW_MODULE = f"""
import inspect
from huey import consumer
spec, loader = consumer.__spec__, consumer.__loader__
print(spec.origin, type(loader).__name__, spec.loader is loader)
print(len(inspect.getsource(consumer)))
print(sorted(vars(consumer).keys() - {set(events.CONSTANTS)}))
"""


def said(*code: str) -> str:
    """What *code* writes in a new Python."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(code)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import huey_otel",
        "import huey.consumer, huey_otel",
        "from huey_otel import instrument",
        f"{WRAPT}; import huey_otel",
        f"import huey_otel; {WRAPT}",
        "import huey_otel, importlib, huey.consumer; importlib.reload(huey.consumer)",
    ],
    ids=["before", "after", "instrument", "behind wrapt", "before wrapt", "reloaded"],
)
def test_hueys_consumer_has_them_all(code):
    names = [*events.CONSTANTS]

    shown = said(
        code,
        "from huey import consumer",
        f"print({{name: getattr(consumer, name) for name in {names}}})",
    )

    assert shown == f"{events.CONSTANTS}\n"


def test_one_that_hueys_consumer_has_itself_stays():
    shown = said(
        "import huey.consumer; huey.consumer.EVENT_LOST = 'own'",
        "import huey_otel; print(huey.consumer.EVENT_LOST)",
    )

    assert shown == "own\n"


def test_hueys_consumer_is_the_module_that_it_is_without_them():
    assert said("import huey_otel", SHOW_MODULE) == said(SHOW_MODULE)
