"""A metrics page: what is packed is read, and anything else is refused in bounds."""

import json
import random
import tracemalloc
import zlib

import pytest

from huey_otel._wire.page import (
    LARGEST,
    Head,
    PageError,
    index_of,
    key_of,
    pack,
    unpack,
)

HEAD = Head("my-app", "web-1:7", 5.0, "0.1.0")
TEXT = 'huey_workers{queue="my-app",worker_type="thread"} 4.0\n# EOF\n'


def page(text=TEXT, **changed):
    told = {"format": 1, **HEAD._asdict(), **changed}
    return json.dumps(told).encode() + b"\n" + zlib.compress(text.encode())


def refused(data, **limits):
    with pytest.raises(PageError) as refusal:
        unpack(data, **limits)
    return refusal.value.reason, str(refusal.value)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("at", [None, 1_764_000_000.5])
def test_what_is_packed_is_read(ended, at):
    head = HEAD._replace(queue='odd "\\\n\ud83c', ended=ended, at=at)

    assert unpack(pack(head, TEXT)) == (head, TEXT)


def test_keys_are_spelled_as_the_queues():
    assert (index_of("myapp"), key_of("myapp", "web-1:7:99")) == (
        "huey.metrics.myapp",
        "huey.metrics.myapp.web-1:7:99",
    )


def test_what_a_later_version_adds_to_the_head_is_ignored():
    assert unpack(page(busy=3)) == (HEAD, TEXT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "damaged", id="nothing"),
        pytest.param(b"\n", "damaged", id="empty head"),
        pytest.param(b"{" * 5_000 + b"\n", "damaged", id="a head without end"),
        pytest.param(b"[" * 4_000 + b"\n", "damaged", id="a deep head"),
        pytest.param(b"[1]\n", "damaged", id="a list"),
        pytest.param(b"\xff\n", "damaged", id="no UTF-8"),
        pytest.param(page(format=2), "newer", id="a newer format"),
        pytest.param(page(format=10**400), "newer", id="a much newer format"),
        pytest.param(page(format=True), "damaged", id="a format that is no number"),
        pytest.param(page(format=0), "damaged", id="format 0"),
        pytest.param(page(queue=None), "damaged", id="no queue"),
        pytest.param(page(consumer=["a"]), "damaged", id="a list of consumers"),
        pytest.param(page(consumer="a" * 2_000), "damaged", id="a long name"),
        pytest.param(page(interval=0), "damaged", id="no interval"),
        pytest.param(page(interval=1e9), "damaged", id="an interval of years"),
        pytest.param(page(interval=float("nan")), "damaged", id="NaN seconds"),
        pytest.param(page(interval=True), "damaged", id="True seconds"),
        pytest.param(page(ended="no"), "damaged", id="ended, a text"),
        pytest.param(page(at="now"), "damaged", id="a moment, a text"),
        pytest.param(page(at=float("nan")), "damaged", id="at no moment"),
        pytest.param(page(at=10**400), "damaged", id="a far moment"),
        pytest.param(page()[:-4], "damaged", id="cut short"),
        pytest.param(page().replace(b"\nx", b"\n?"), "damaged", id="no zlib"),
        pytest.param(
            page().partition(b"\n")[0] + b"\n" + zlib.compress(b"\xff"),
            "damaged",
            id="a text that is no UTF-8",
        ),
    ],
)
def test_what_is_no_page_is_refused(data, reason):
    assert refused(data)[0] == reason


def test_random_bytes_are_refused():
    dice = random.Random(1)
    reasons = set()
    for _ in range(2_000):
        data = bytearray(page())
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            _, text = unpack(bytes(data))
        except PageError as error:
            reasons.add(error.reason)
        else:
            # zlib's own checksum holds, so only the head was changed.
            reasons.add(text)

    assert reasons == {"damaged", TEXT}


def test_unpacking_stops_at_the_limit():
    bomb = json.dumps({"format": 1, **HEAD._asdict()}).encode() + b"\n"
    bomb += zlib.compress(b"\0" * (100 << 20), 9)

    tracemalloc.start()
    said = refused(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert said == ("too_large", f"has over {LARGEST:,} bytes unpacked")
    assert peak < 3 * LARGEST


def test_a_page_that_is_too_large_as_it_is_is_not_unpacked():
    assert refused(page() + b"x" * 1_000, largest=500)[0] == "too_large"
    assert refused(page("a" * 501), largest=500)[0] == "too_large"
    assert unpack(page("a" * 500), largest=500)[1] == "a" * 500
