"""The carrier: written behind a message, read back, and never trusted."""

import gzip
import json
import math
import pickle
import struct
import zlib

import pytest

from huey_otel._wire.carrier import LARGEST, Carrier, TrailerError, decode, encode

PARENT = (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1)
MESSAGE = pickle.dumps({"a": 1}, pickle.HIGHEST_PROTOCOL)


def trailer(
    body=b"", *, enqueued=1.0, eta=math.nan, attempt=1, hops=0, version=2, length=None
):
    """A trailer with *body*; anything of it may be wrong."""
    length = len(body) if length is None else length
    numbers = struct.pack("<ddII25x", enqueued, eta, attempt, hops)
    return body + numbers + length.to_bytes(3, "little") + bytes([version]) + b"hotl"


@pytest.mark.parametrize(
    "carrier",
    [
        pytest.param(Carrier(enqueued=1.5), id="little"),
        pytest.param(Carrier(enqueued=1.5, parent=PARENT), id="usual"),
        pytest.param(
            Carrier(
                enqueued=1700000000.123456,
                eta=1800000000.5,
                attempt=7,
                headers={"traceparent": "00-0af-b7-01", "baggage": "名=値"},
                previous="00-0af-b8-01",
                hops=3,
            ),
            id="full",
        ),
        pytest.param(
            Carrier(
                enqueued=1.0, members=("00-0af-b7-01", "00-0af-b8-01"), chord_size=9
            ),
            id="callback",
        ),
        pytest.param(Carrier(enqueued=0.0, eta=-5.0), id="before 1970"),
        pytest.param(
            Carrier(enqueued=1.0, headers={"a": 'quotes " and \\ and \n'}), id="quotes"
        ),
    ],
)
def test_a_written_carrier_is_read_back(carrier):
    assert decode(MESSAGE + encode(carrier)) == carrier


def test_members_that_do_not_fit_are_left_out_before_the_headers():
    headers = {"traceparent": "x" * (LARGEST - 200)}
    carrier = Carrier(enqueued=1.0, headers=headers, members=("y" * 200,), chord_size=3)

    assert decode(encode(carrier)) == Carrier(
        enqueued=1.0, headers=headers, chord_size=3
    )


def test_pickle_does_not_see_the_trailer():
    message = MESSAGE + encode(Carrier(enqueued=1.0, headers={"a": "b"}))

    assert pickle.loads(message) == {"a": 1}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [None, 0, b"", "", b"hot", "x" * 1000, [1.5, {"a": (1, 2)}], {"l": b"ltoh"}],
    ids=lambda value: repr(value)[:20],
)
def test_a_plain_pickle_has_no_trailer(value, protocol):
    # Every pickle ends with the STOP opcode ".", which our magic does not.
    assert decode(pickle.dumps(value, protocol)) is None


@pytest.mark.parametrize(
    "data", [b"", b"h", b"hot", b"otl", b"hotl", b"1hotl", b".", trailer()[3:]]
)
def test_a_short_message_has_no_trailer(data):
    assert decode(data) is None


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_message_has_no_trailer_of_its_own(compress):
    assert decode(compress(MESSAGE + encode(Carrier(enqueued=1.0)))) is None


def test_headers_that_do_not_fit_are_left_out():
    carrier = Carrier(
        enqueued=1.0, attempt=2, headers={"baggage": "x" * LARGEST}, hops=4
    )

    written = encode(carrier)

    assert decode(written) == Carrier(enqueued=1.0, attempt=2, hops=4)


def test_headers_with_lone_surrogates_are_written():
    written = encode(Carrier(enqueued=1.0, headers={"a": "\udc80"}))

    carrier = decode(written)

    assert carrier is None or set(carrier.headers) == {"a"}


def test_unknown_further_fields_are_ignored():
    body = json.dumps([{"a": "b"}, None, 0, [], "of a later minor version"]).encode()

    assert decode(trailer(body)) == Carrier(enqueued=1.0, headers={"a": "b"})


GOOD = [{}, None, 0, []]
TEXTS = json.dumps(GOOD).encode()


def with_field(at, value):
    fields = list(GOOD)
    fields[at] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(trailer(b"nonsense"), id="no JSON"),
        pytest.param(b"." + trailer(TEXTS)[1:], id="cut"),
        pytest.param(trailer(b"\xff\xfe\xfd"), id="no UTF-8"),
        pytest.param(trailer(b"[" * 8_000), id="deep JSON"),
        pytest.param(trailer(b'{"a":' * 1_500), id="deep objects"),
        pytest.param(trailer(b"9" * 8_000), id="a huge integer"),
        pytest.param(trailer(b"[{}," + b"9" * 5_000 + b"]"), id="a huge field"),
        pytest.param(trailer(enqueued=math.nan), id="NaN"),
        pytest.param(trailer(enqueued=math.inf), id="infinity"),
        pytest.param(trailer(enqueued=1e300), id="enqueued after all years"),
        pytest.param(trailer(enqueued=-1e300), id="enqueued before all years"),
        pytest.param(trailer(eta=-math.inf), id="infinity as eta"),
        pytest.param(trailer(attempt=0), id="attempt 0"),
        pytest.param(trailer(attempt=2**31), id="attempt too large"),
        pytest.param(trailer(hops=2**31), id="hops too large"),
        pytest.param(trailer(b"null"), id="null"),
        pytest.param(trailer(b"{} "), id="more than one value"),
        pytest.param(trailer(b"[]"), id="no fields"),
        pytest.param(trailer(json.dumps(GOOD[:3]).encode()), id="a field too few"),
        pytest.param(trailer(b'{"a":"b"}'), id="headers alone"),
        pytest.param(trailer(with_field(0, [])), id="headers as list"),
        pytest.param(trailer(with_field(0, None)), id="no headers"),
        pytest.param(trailer(with_field(0, {"a": 1})), id="a header as int"),
        pytest.param(trailer(with_field(1, 1)), id="previous as int"),
        pytest.param(trailer(with_field(2, -1)), id="size below 0"),
        pytest.param(trailer(with_field(2, 2**31)), id="size too large"),
        pytest.param(trailer(with_field(2, "3")), id="size as str"),
        pytest.param(trailer(with_field(3, [4])), id="a member as int"),
        pytest.param(trailer(with_field(3, "ab")), id="members as str"),
        pytest.param(trailer(version=3), id="newer version"),
        pytest.param(trailer(version=1), id="older version"),
        pytest.param(trailer(b"x" * (LARGEST + 1)), id="too large"),
        pytest.param(trailer(b"x" * 4_000_000), id="megabytes"),
        pytest.param(trailer(b"[]", length=100), id="longer than the message"),
        pytest.param(trailer(b"[]", length=2**24 - 1), id="the longest length"),
    ],
)
def test_a_hostile_trailer_is_refused(data):
    with pytest.raises(TrailerError):
        decode(data)


@pytest.mark.parametrize(
    ("in_trace", "in_span"), [(0, 5), (5, 0), (0, 0)], ids=["trace", "span", "both"]
)
def test_ids_of_no_span_are_no_parent(in_trace, in_span):
    written = encode(Carrier(enqueued=1.0, parent=(in_trace, in_span, 1)))

    assert decode(written) == Carrier(enqueued=1.0)


def test_what_is_propagated_is_read_as_headers():
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    assert Carrier(enqueued=1.0, parent=PARENT).texts == {"traceparent": header}
    assert Carrier(enqueued=1.0, headers={"b3": "0"}).texts == {"b3": "0"}
    assert Carrier(enqueued=1.0).texts == {}


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["enqueued", "eta"])
def test_a_time_that_is_no_number_is_not_written(name, time):
    carrier = Carrier(**{"enqueued": 1.0, name: time})

    with pytest.raises(ValueError, match="expected seconds"):
        encode(carrier)
