"""Fixtures of the relay's tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from huey_otel._relay.pipe import Pipe, PipeReader
from huey_otel._relay.relay import Relay
from tests.support.relays import Got, end


@pytest.fixture
def got() -> Got:
    return Got()


@pytest.fixture
def relay(got: Any) -> Iterator[Relay]:
    made = Relay(got)
    yield made
    end(made)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def reader(pipe: Pipe) -> PipeReader:
    return PipeReader(pipe.read_end)
