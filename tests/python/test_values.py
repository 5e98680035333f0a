"""Payload kind ``value`` as the worker writes and reads it; tests/unit/value_test.cc looks at the host."""

from __future__ import annotations

import contextlib
import gc
import math
import random
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import IntEnum
from typing import Any

import pytest
from samovar._native import decode_value, encode_value

# tests/unit/value_test.cc has the same bytes.
GOLDEN: list[tuple[Any, str]] = [
    (None, "00 00 01"),
    (True, "01 68 01"),
    (False, "00 68 01"),
    (7, "07 04 01"),
    (-1, "ff 04 01"),
    (300, "2c 01 05 02"),
    (-(2**63), "00 00 00 00 00 00 00 80 07 08"),
    (2**64 - 1, "ff ff ff ff ff ff ff ff 0b 08"),
    (1.5, "00 00 00 00 00 00 f8 3f 0f 08"),
    (-0.0, "00 00 00 00 00 00 00 80 0f 08"),
    ("a", "01 61 00 02 14 01"),
    ("é\0x", "04 c3 a9 00 78 00 05 14 01"),
    (b"ab", "02 61 62 02 64 01"),
    ([], "00 00 28 01"),
    ({}, "00 00 6b 00 76 00 02 05 04 02 01 02 0b 0b 28 28 04 24 01"),
    (["EURUSD", 1_000_000], "06 45 55 52 55 53 44 00 02 00 00 00 0b 00 00 00 40 42 0f 00 14 06 0a 2a 01"),
    (
        {"a": 1, 3: [None, {"x": b""}]},
        "01 61 00 02 03 03 14 04 01 78 00 01 03 14 00 01 01 64 6b 00 76 00 02 05 04 02 01 02 10 0d 28 28 02 00 06 00 24 "
        "02 01 06 04 28 6b 00 76 00 02 05 04 02 01 02 30 0f 28 28 04 24 01",
    ),
]


def round_trip(value: object) -> Any:
    return decode_value(encode_value(value))


def assert_same(left: object, right: object) -> None:
    """Equal, of the same types, in the same order."""
    assert type(left) is type(right)
    if isinstance(left, dict) and isinstance(right, dict):
        assert_same(list(left.keys()), list(right.keys()))
        assert_same(list(left.values()), list(right.values()))
    elif isinstance(left, list) and isinstance(right, list):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    elif isinstance(left, float):
        assert struct.pack("d", left) == struct.pack("d", right)
    else:
        assert left == right


def message_of(error: type[Exception], value: object) -> str:
    with pytest.raises(error) as caught:
        encode_value(value)
    return str(caught.value)


def nested(levels: int, innermost: object) -> object:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=[repr(value)[:20] for value, _ in GOLDEN])
def test_bytes_are_those_of_the_host(value: object, expected: str) -> None:
    assert encode_value(value).hex(" ") == expected
    assert_same(decode_value(bytes.fromhex(expected)), value)


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 15, 16, 31, 32, 62, 63])
def test_ints_keep_their_value_at_each_width(bits: int) -> None:
    for number in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) + 1):
        assert_same(round_trip([number, "x"]), [number, "x"])


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**6000], ids=["above", "below", "huge"])
def test_an_int_of_more_than_64_bits_is_refused(number: int) -> None:
    assert message_of(OverflowError, [0, number]) == "value[1]: int is outside -2**63 .. 2**64-1"


@pytest.mark.parametrize("number", [0.0, -0.0, 0.5, 0.1, 1e300, 5e-324, math.inf, -math.inf])
def test_floats_keep_their_bits(number: float) -> None:
    assert_same(round_trip([number, 1]), [number, 1])


def test_nan_keeps_its_payload() -> None:
    nan = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_0000_0123))[0]
    assert struct.pack("d", round_trip(nan)) == struct.pack("d", nan)


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 65_534, 65_536, 70_000])
def test_texts_and_bytes_of_every_width(size: int) -> None:
    value = ["a" * size, "é" * size, "€" * size, "🐍" * size, bytes(size), [1] * size, {str(i): i for i in range(size)}]
    assert_same(round_trip(value), value)


def test_a_text_is_not_cached_inside_its_str() -> None:
    text = "é" * 1000
    size = sys.getsizeof(text)
    encode_value(text)
    assert sys.getsizeof(text) == size


def test_dicts_keep_order_and_every_plain_key() -> None:
    value = {"z": 1, "a": 2, "a\0b": 3, "a\0c": 4, "": 5, 7: 6, None: 7, 1.5: 8, b"z": 9, False: 10, 2**64 - 1: 11}
    assert_same(round_trip(value), value)


def test_nan_keys_stay_apart() -> None:
    back = round_trip({float("nan"): 1, float("nan"): 2})
    assert list(back.values()) == [1, 2]


def test_what_arrives_as_something_else() -> None:
    Point = namedtuple("Point", "x y")
    assert_same(round_trip((1, (2,), Point(3, 4))), [1, [2], [3, 4]])
    assert_same(round_trip([bytearray(b"ab"), memoryview(b"abcd")[1:3]]), [b"ab", b"bc"])


def test_subclasses_are_taken_as_their_base() -> None:
    class Text(str):
        def __str__(self) -> str:
            raise AssertionError

    class Items(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError

    class Entries(dict[str, int]):
        def items(self) -> Any:
            raise AssertionError

    class Number(float):
        def __float__(self) -> float:
            raise AssertionError

    class Buffer(bytearray):
        def __buffer__(self, flags: int) -> memoryview:
            raise AssertionError

    class Color(IntEnum):
        RED = 3

    value = [Text("t"), Items([1]), Entries(a=1), Number(1.5), Buffer(b"b"), Color.RED, {Text("k"): 1, Color.RED: 2}]
    assert_same(round_trip(value), ["t", [1], {"a": 1}, 1.5, b"b", 3, {"k": 1, 3: 2}])
    assert_same(round_trip([defaultdict(list, a=[1]), Counter("aa")]), [{"a": [1]}, {"a": 2}])


def test_an_ordered_dict_keeps_its_own_order() -> None:
    ordered = OrderedDict(a=1, b=2, c=3)
    ordered.move_to_end("a")
    assert_same(round_trip(ordered), {"b": 2, "c": 3, "a": 1})
    assert message_of(TypeError, OrderedDict(a={1})) == 'value["a"]: set is not supported'


def test_keys_that_are_equal_only_when_plain_are_refused() -> None:
    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return self is other

        def __hash__(self) -> int:
            return id(self)

    assert (
        message_of(ValueError, {"x": {Odd("a"): 1, Odd("a"): 2}})
        == 'value["x"]["a"]: two keys are equal once they are plain'
    )
    assert round_trip({Odd("a"): 1, Odd("b"): 2}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("error", "value", "message"),
    [
        (TypeError, {1}, "value: set is not supported"),
        (TypeError, {"a": [0, 1, 2, {1}]}, 'value["a"][3]: set is not supported'),
        (TypeError, [({"b": 1j},)], 'value[0][0]["b"]: complex is not supported'),
        (TypeError, {3: {None: {b"k": object()}}}, "value[3][None][b'k']: object is not supported"),
        (TypeError, {(1, 2): 1}, "value[<tuple>]: tuple is not supported as a key"),
        (TypeError, {frozenset(): 1}, "value[<frozenset>]: frozenset is not supported as a key"),
        (OverflowError, {2**64: 1}, "value[18446744073709551616]: int is outside -2**63 .. 2**64-1"),
        (OverflowError, {10**6000: 1}, "value[<int>]: int is outside -2**63 .. 2**64-1"),
        (ValueError, ["ok", "\ud800"], "value[1]: a str with a lone surrogate is not supported"),
        (ValueError, {"\ud800": 1}, 'value["\\ud800"]: a str with a lone surrogate is not supported'),
        (TypeError, {'quo"te': {1}}, "value['quo\"te']: set is not supported"),
        (TypeError, {"k" * 100: {1}}, 'value["' + "k" * 40 + '"]: set is not supported'),
        (
            ValueError,
            [memoryview(b"abcd")[::2]],
            "value[0]: a memoryview that is released or not contiguous is not supported",
        ),
    ],
)
def test_an_error_names_the_path(error: type[Exception], value: object, message: str) -> None:
    assert message_of(error, value) == message


def test_numpy_scalars_are_named() -> None:
    np = pytest.importorskip("numpy")
    assert_same(round_trip([np.float64(1.5), np.str_("a")]), [1.5, "a"])
    assert message_of(TypeError, [np.int64(1)]) == "value[0]: numpy.int64 is not supported in a value (.item() makes it one)"
    assert "numpy.ndarray is not supported in a value (.tolist()" in message_of(TypeError, np.zeros(3))


def test_a_memoryview_of_a_released_buffer_is_an_error() -> None:
    view = memoryview(bytearray(b"ab"))
    view.release()
    assert "released" in message_of(ValueError, view)


@pytest.mark.parametrize(
    "fits", [nested(64, 1), nested(63, "a"), nested(63, []), nested(62, {}), nested(62, {1: 2}), nested(61, {"a": "b"})]
)
def test_depth_is_refused_exactly_above_64_levels(fits: object) -> None:
    assert_same(round_trip(fits), fits)
    message = message_of(ValueError, [fits])
    assert message.startswith("value[0][0][0][0][0][0][0][0]...[0][")
    assert message.endswith("]: nested deeper than 64 levels (a list counts as one, a dict as two, a str or bytes as one)")


def test_a_cycle_is_too_deep() -> None:
    cyclic_list: list[object] = []
    cyclic_list.append(cyclic_list)
    cyclic_dict: dict[str, object] = {}
    cyclic_dict["me"] = [cyclic_dict]
    for cyclic in (cyclic_list, cyclic_dict):
        assert "nested deeper than 64 levels" in message_of(ValueError, cyclic)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("", "shorter than three bytes"),
        ("01 04", "shorter than three bytes"),
        ("01 04 03", "width of the root"),
        ("01 04 08", "width of the root"),
        ("03 61 ff 62 00 04 14 01", "not UTF-8"),
        ("05 61 00 02 14 01", "past the end"),
        ("01 61 00 09 14 01", "before the first byte"),
        ("61 62 02 10 01", "a key does not end"),
        ("01 00 28 02 28 01", "nested deeper than 64 levels"),
        ("00 6c 01", "type is not supported"),
        ("00 00 6b 00 77 00 02 05 04 02 01 02 0b 0b 28 28 04 24 01", "keys are not k and v"),
        ("01 05 04 00 6b 00 76 00 02 05 04 02 01 02 0b 0b 28 28 04 24 01", "more keys"),
        ("02 01 01 04 04 6b 00 76 00 02 05 04 02 01 02 0b 0c 28 28 04 24 01", "two keys of a dict are equal"),
        ("00 01 01 28 6b 00 76 00 02 05 04 02 01 02 0c 0d 28 28 04 24 01", "no key of a dict"),
    ],
)
def test_malformed_bytes_are_a_value_error(raw: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decode_value(bytes.fromhex(raw))


def random_key(rng: random.Random) -> Any:
    match rng.randrange(5):
        case 0:
            return None
        case 1:
            return rng.getrandbits(40)
        case 2:
            return rng.random()
        case 3:
            return rng.randbytes(3)
        case _:
            return "".join(rng.choices("ab\0\n'\"é€🐍", k=rng.choice([0, 1, 3, 8, 300])))


def random_value(rng: random.Random, levels: int) -> object:
    shape = rng.randrange(10)
    if levels > 0 and shape < 4:
        return [random_value(rng, levels - 1) for _ in range(rng.randrange(6))]
    if levels > 0 and shape < 7:
        return {random_key(rng): random_value(rng, levels - 1) for _ in range(rng.randrange(5))}
    if shape == 7:
        return rng.getrandbits(64)
    if shape == 8:
        return -rng.getrandbits(63)
    return rng.random() < 0.5 if rng.randrange(4) == 0 else random_key(rng)


def test_random_values_come_back() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        value = random_value(rng, 6)
        assert_same(round_trip(value), value)


def test_mutated_bytes_never_crash_and_what_decodes_encodes_again() -> None:
    rng = random.Random(2)
    decoded = 0
    for _ in range(30_000):
        raw = bytearray(encode_value(random_value(rng, 3)))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            value = decode_value(raw)
        except ValueError:
            continue
        decoded += 1
        encode_value(value)
    assert decoded > 1000


def test_no_reference_is_lost_or_kept() -> None:
    marker = "marker " + str(random.random())
    values: list[object] = [
        {"a": [marker, (marker,), {marker: marker}]},
        [marker, {marker}],
        {marker: {1}},
        OrderedDict({marker: marker}),
        OrderedDict({marker: {1}}),
        {(marker, marker): 1},
    ]
    good, bad = encode_value(values[0]), encode_value([marker, marker])[:-8] + bytes(8)

    def work() -> None:
        for value in values:
            with contextlib.suppress(TypeError):
                encode_value(value)
        decode_value(good)
        with pytest.raises(ValueError, match="malformed"):
            decode_value(bad)

    work()
    gc.collect()
    before = sys.getrefcount(marker), sys.getrefcount(None), len(gc.get_objects())
    for _ in range(200):
        work()
    gc.collect()
    after = sys.getrefcount(marker), sys.getrefcount(None), len(gc.get_objects())
    assert after[0] == before[0]
    assert abs(after[1] - before[1]) < 100
    assert abs(after[2] - before[2]) < 100
