"""The carrier: written behind a message, read back, and never trusted."""

import gzip
import json
import pickle
import zlib

import pytest

from huey_otel._wire.carrier import LARGEST, Carrier, TrailerError, decode, encode

MESSAGE = pickle.dumps({"a": 1}, pickle.HIGHEST_PROTOCOL)


def trailer(body, *, version=1, length=None, magic=b"hotl"):
    """A trailer with *body*; its length, version and magic may be wrong."""
    length = len(body) if length is None else length
    return body + length.to_bytes(3, "little") + bytes([version]) + magic


@pytest.mark.parametrize(
    "carrier",
    [
        pytest.param(Carrier(enqueued=1.5), id="little"),
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


@pytest.mark.parametrize(
    "more", [0, [], [0], ["3"], [3, 4], [3, None]], ids=lambda more: repr(more)
)
def test_fields_of_a_later_version_are_accepted(more):
    body = json.dumps([1, 2.0, None, {}, None, 0, more]).encode()

    assert decode(trailer(body)) == Carrier(enqueued=2.0)


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


@pytest.mark.parametrize("data", [b"", b"h", b"hot", b"otl", b"hotl", b"1hotl", b"."])
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
    body = json.dumps([2, 1.0, None, {}, None, 0, "of a later minor version"]).encode()

    assert decode(trailer(body)) == Carrier(enqueued=1.0, attempt=2)


GOOD = [1, 1.0, None, {}, None, 0]


def with_field(at, value):
    fields = list(GOOD)
    fields[at] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(trailer(b"nonsense"), id="no JSON"),
        pytest.param(trailer(b""), id="empty"),
        pytest.param(trailer(b"\xff\xfe\xfd"), id="no UTF-8"),
        pytest.param(trailer(b"[" * 8_000), id="deep JSON"),
        pytest.param(trailer(b'{"a":' * 1_500), id="deep objects"),
        pytest.param(trailer(b"9" * 8_000), id="a huge integer"),
        pytest.param(trailer(b"[1," + b"9" * 5_000 + b"]"), id="a huge field"),
        pytest.param(trailer(with_field(1, 10**400)), id="an int past all floats"),
        pytest.param(trailer(with_field(2, 10**400)), id="an eta past all floats"),
        pytest.param(trailer(b"[1,NaN,null,{},null,0]"), id="NaN"),
        pytest.param(trailer(b"[1,Infinity,null,{},null,0]"), id="infinity"),
        pytest.param(trailer(b"[1,1e999,null,{},null,0]"), id="overflow"),
        pytest.param(trailer(with_field(1, 1e300)), id="enqueued after all years"),
        pytest.param(trailer(with_field(1, -1e300)), id="enqueued before all years"),
        pytest.param(trailer(b"[1,1.0,NaN,{},null,0]"), id="NaN as eta"),
        pytest.param(trailer(b"null"), id="null"),
        pytest.param(trailer(b"{}"), id="an object"),
        pytest.param(trailer(b"[]"), id="no fields"),
        pytest.param(trailer(json.dumps(GOOD[:5]).encode()), id="a field too few"),
        pytest.param(trailer(with_field(0, 0)), id="attempt 0"),
        pytest.param(trailer(with_field(0, -1)), id="attempt -1"),
        pytest.param(trailer(with_field(0, 2**31)), id="attempt too large"),
        pytest.param(trailer(with_field(0, 1.5)), id="a fraction of an attempt"),
        pytest.param(trailer(with_field(0, "1")), id="attempt as str"),
        pytest.param(trailer(with_field(0, value=True)), id="attempt as bool"),
        pytest.param(trailer(with_field(0, None)), id="no attempt"),
        pytest.param(trailer(with_field(1, "now")), id="enqueued as str"),
        pytest.param(trailer(with_field(1, None)), id="no enqueued"),
        pytest.param(trailer(with_field(2, [])), id="eta as list"),
        pytest.param(trailer(with_field(3, [])), id="headers as list"),
        pytest.param(trailer(with_field(3, None)), id="no headers"),
        pytest.param(trailer(with_field(3, {"a": 1})), id="header as int"),
        pytest.param(trailer(with_field(3, {"a": {"b": "c"}})), id="header as object"),
        pytest.param(trailer(with_field(4, 1)), id="previous as int"),
        pytest.param(trailer(with_field(5, -1)), id="hops below 0"),
        pytest.param(trailer(with_field(5, 2**31)), id="hops too large"),
        pytest.param(trailer(with_field(5, value=False)), id="hops as bool"),
        pytest.param(trailer(with_field(5, None)), id="no hops"),
        pytest.param(trailer(json.dumps(GOOD).encode(), version=2), id="newer version"),
        pytest.param(trailer(json.dumps(GOOD).encode(), version=0), id="version 0"),
        pytest.param(trailer(b"x" * (LARGEST + 1)), id="too large"),
        pytest.param(trailer(b"x" * 4_000_000), id="megabytes"),
        pytest.param(trailer(b"[]", length=100), id="longer than the message"),
        pytest.param(trailer(b"[]", length=2**24 - 1), id="the longest length"),
    ],
)
def test_a_hostile_trailer_is_refused(data):
    with pytest.raises(TrailerError):
        decode(data)


def test_numbers_are_read_as_floats():
    carrier = decode(trailer(b"[1,1,2,{},null,0]"))

    assert repr(carrier) == repr(Carrier(enqueued=1.0, eta=2.0))
