"""FlatBuffers through samovar.schema(): what is built is what is read, by us and by the code that flatc generates."""

from __future__ import annotations

import array
import gc
import os
import random
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

import samovar

SCHEMAS = Path(os.environ["SAMOVAR_TEST_SCHEMAS"])
sys.path.insert(0, str(SCHEMAS))

from fbs import Answer as StockAnswer  # noqa: E402
from fbs import Image as StockImage  # noqa: E402

shop = samovar.schema(SCHEMAS / "shop.bfbs")
answer = samovar.schema(SCHEMAS / "answer.bfbs")


def full() -> Any:
    return shop.Answer(
        label="a label",
        score=2.5,
        scores=[0.5, 1.5],
        items=[shop.Item(name="one", score=1.5), {"name": "two", "color": "Blue", "children": [{"name": "deep"}]}],
        best={"position": (1, 2, 3)},
        extra=shop.Note(text="note"),
        extras=[shop.Image(width=3, pixels=b"abc"), "words", shop.Vec3(1, 2, 3)],
        names=["p", "", "ß"],
        points=[(1, 2, 3), shop.Vec3(x=4, y=5, z=6)],
        mixed={"flag": True, "at": (1, 2, 3), "count": 2**64 - 1, "path": [1, -2, 3], "corners": [(1, 2, 3), (4, 5, 6)]},
        colors=[1, "Blue"],
        level=-1,
        ok=False,
        small=7,
        big=2**63,
        maybe=0,
        words=[-1, 2**40],
        flags=[True, False],
    )


def check_full(seen: Any) -> None:
    assert (seen.label, seen.score, list(seen.scores)) == ("a label", 2.5, [0.5, 1.5])
    assert [item.name for item in seen.items] == ["one", "two"]
    assert (seen.items[0].score, seen.items[0].color, seen.items[0].children) == (1.5, shop.Color.Green, None)
    assert seen.items[-1].children[0].name == "deep"
    assert (seen.best.position.x, seen.best.position.z, seen.best.name) == (1.0, 3.0, None)
    assert (seen.extra_type, seen.extra.text) == (shop.Extra.Note, "note")
    assert (bytes(seen.extras[0].pixels), seen.extras[1], seen.extras[2].y) == (b"abc", "words", 2.0)
    assert list(seen.names) == ["p", "", "ß"]
    assert seen.names[1:] == ["", "ß"]
    assert [(point.x, point.z) for point in seen.points] == [(1.0, 3.0), (4.0, 6.0)]
    assert (seen.mixed.flag, seen.mixed.count, list(seen.mixed.path)) == (True, 2**64 - 1, [1, -2, 3])
    assert [corner.y for corner in seen.mixed.corners] == [2.0, 5.0]
    assert (list(seen.colors), seen.level, seen.ok, seen.small) == ([1, 8], -1, False, 7)
    assert (seen.big, seen.maybe, list(seen.words), list(seen.flags)) == (2**63, 0, [-1, 2**40], [True, False])


# ---- what is built is what is read


def test_what_is_built_is_seen_at_once_and_in_its_bytes() -> None:
    built = full()
    check_full(built)
    check_full(shop.view(bytes(built)))
    check_full(shop.view(bytearray(bytes(built))))


def test_a_copy_of_a_view_is_the_same_bytes() -> None:
    built = full()
    assert bytes(shop.Answer(built)) == bytes(built)
    nested = shop.Answer(best=built.items[1])
    assert nested.best.children[0].name == "deep"
    assert bytes(shop.Item(built.items[0])) == bytes(shop.Item(name="one", score=1.5))


def test_defaults_and_what_is_absent() -> None:
    empty = shop.Answer()
    assert (empty.score, empty.level, empty.ok, empty.small, empty.big) == (0.0, shop.Level.High, True, -5, 0)
    assert [empty.maybe, empty.label, empty.scores, empty.items, empty.best, empty.extra, empty.mixed, empty.extras] == [
        None
    ] * 8
    assert bytes(shop.Answer(level=300, small=-5, ok=True)) == bytes(empty)  # defaults are not written
    assert shop.Answer(maybe=0).maybe == 0
    assert list(shop.Answer(scores=[]).scores) == []
    assert len(shop.Answer(items=[]).items) == 0


def test_deprecated_fields_are_not_there() -> None:
    with pytest.raises(AttributeError, match="Answer has no field 'old'"):
        _ = full().old
    with pytest.raises(TypeError, match="no field 'old'"):
        shop.Answer(old=1)


def test_vectors_of_scalars_are_arrays_without_a_copy() -> None:
    built = shop.Answer(scores=np.arange(5, dtype=np.float32), words=array.array("q", [1, 2]), colors=b"\1\2")
    assert isinstance(built.scores, memoryview)
    assert (built.scores.format, built.scores.shape, built.scores.readonly) == ("f", (5,), True)
    seen = np.asarray(built.scores)
    assert seen.dtype == np.float32 and not seen.flags.writeable and seen.flags.aligned
    assert np.asarray(built.words).dtype == np.int64
    memory = np.frombuffer(memoryview(built), np.uint8)
    begin, end = memory.ctypes.data, memory.ctypes.data + memory.nbytes
    assert begin <= seen.ctypes.data < end


def test_a_part_keeps_the_memory_of_the_whole() -> None:
    class Owner(bytearray):
        pass

    owner = Owner(bytes(full()))
    gone = weakref.ref(owner)
    scores, item, names = (lambda whole: (whole.scores, whole.items[1], whole.names))(shop.view(owner))
    del owner
    gc.collect()
    assert gone() is not None
    assert (list(scores), item.name, names[2]) == ([0.5, 1.5], "two", "ß")
    del scores, item, names
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("count", [0, 1, 1000, 100_000])
def test_large_vectors(count: int) -> None:
    numbers = np.random.default_rng(1).random(count, dtype=np.float32)
    for given in (numbers, numbers.tolist(), tuple(numbers.tolist()), (x for x in numbers.tolist())):
        assert np.array_equal(np.asarray(shop.view(bytes(shop.Answer(scores=given))).scores), numbers)
    strided = np.repeat(numbers, 2)[::2]
    assert np.array_equal(np.asarray(shop.Answer(scores=strided).scores), numbers)


def test_a_schema_is_collected_with_its_types() -> None:
    mine = samovar.schema((SCHEMAS / "shop.bfbs").read_bytes())
    kept = weakref.ref(mine.Item)
    view = mine.Answer(label="x")
    del mine
    gc.collect()
    assert view.__schema__.Item is kept()
    assert view.label == "x"
    del view
    gc.collect()
    assert kept() is None


# ---- the same bytes, through generated code


def test_stock_code_reads_what_is_built() -> None:
    built = answer.Answer(
        label="x", score=2.5, scores=np.arange(7, dtype=np.float32), items=[{"name": "a"}, {"color": 1, "position": (1, 2, 3)}],
        extra=answer.Image(width=4, pixels=[1, 2]), names=["p", "q"], points=[(1, 2, 3)], maybe=4,
    )  # fmt: skip
    for buffer in (bytes(built), memoryview(built)):
        seen = StockAnswer.Answer.GetRootAs(buffer, 0)
        assert StockAnswer.Answer.AnswerBufferHasIdentifier(buffer, 0)
        assert (seen.Label(), seen.Score(), seen.Maybe()) == (b"x", 2.5, 4)
        assert seen.ScoresAsNumpy().tolist() == list(range(7))
        assert (seen.Items(0).Name(), seen.Items(0).Score(), seen.Items(1).Color(), seen.Items(1).Position().Z()) == (
            b"a",
            0.5,
            1,
            3.0,
        )
        image = StockImage.Image()
        image.Init(seen.Extra().Bytes, seen.Extra().Pos)
        assert (image.Width(), image.PixelsAsNumpy().tolist()) == (4, [1, 2])
        assert (seen.Names(1), seen.PointsLength(), seen.Points(0).Y()) == (b"q", 1, 2.0)


def stock_buffer(identifier: bytes | None = b"ANSW") -> bytearray:
    builder = flatbuffers.Builder(64)
    label = builder.CreateString("stock")
    scores = builder.CreateNumpyVector(np.arange(3, dtype=np.float32))
    StockAnswer.AnswerStart(builder)
    StockAnswer.AnswerAddLabel(builder, label)
    StockAnswer.AnswerAddScores(builder, scores)
    StockAnswer.AnswerAddCount(builder, -3)
    builder.Finish(StockAnswer.AnswerEnd(builder), identifier)
    return builder.Output()


def test_what_stock_code_builds_is_read() -> None:
    seen = answer.view(stock_buffer())
    assert (seen.label, list(seen.scores), seen.count) == ("stock", [0, 1, 2], -3)


def test_flatbuffer_takes_a_finished_builder_or_bytes() -> None:
    builder = flatbuffers.Builder(64)
    StockAnswer.AnswerStart(builder)
    builder.Finish(StockAnswer.AnswerEnd(builder), b"ANSW")
    assert bytes(samovar.flatbuffer(builder)) == bytes(builder.Output())
    assert bytes(samovar.flatbuffer(b"abc")) == b"abc"
    assert len(samovar.flatbuffer(bytearray(5))) == 5
    with pytest.raises(TypeError, match="takes a finished flatbuffers.Builder or bytes, not int"):
        samovar.flatbuffer(3)
    with pytest.raises(flatbuffers.builder.BuilderNotFinishedError):
        samovar.flatbuffer(flatbuffers.Builder(8))


# ---- what cannot be is told, with the place


WRONG = [
    ({"lable": "x"}, TypeError, "Answer: no field 'lable'; did you mean 'label'?"),
    ({"label": 3}, TypeError, "Answer.label: an int where a str is expected"),
    ({"label": "\ud800"}, ValueError, "Answer.label: the str has a lone surrogate, which UTF-8 cannot say"),
    ({"items": [{}, {"score": "x"}]}, TypeError, "Answer.items[1].score: a str where a float is expected"),
    ({"items": [{"children": [{"nmae": "x"}]}]}, TypeError, "Answer.items[0].children[0]: no field 'nmae'; did you mean 'name'?"),
    ({"items": {}}, TypeError, "Answer.items: a dict where a list is expected"),
    ({"items": 3}, TypeError, "Answer.items: an int where a list is expected"),
    ({"items": [3]}, TypeError, "Answer.items[0]: an int where Item or a dict is expected"),
    ({"items": [None]}, TypeError, "Answer.items[0]: None where Item or a dict is expected"),
    ({"small": 128}, OverflowError, "Answer.small: 128 is out of range of byte (-128 to 127)"),
    ({"small": 10**400}, OverflowError, "Answer.small: an int is out of range of byte (-128 to 127)"),
    ({"big": -1}, OverflowError, "Answer.big: -1 is out of range of ulong (0 to 18446744073709551615)"),
    ({"words": [2**63]}, OverflowError, "Answer.words[0]: an int is out of range of long (-9223372036854775808 to 9223372036854775807)"),
    ({"small": 1.0}, TypeError, "Answer.small: a float where an int is expected"),
    ({"ok": 1}, TypeError, "Answer.ok: an int where a bool is expected"),
    ({"score": 10**400}, OverflowError, "Answer.score: an int is too large for a float"),
    ({"scores": [1e300]}, OverflowError, "Answer.scores[0]: 1e+300 is out of range of float (single precision)"),
    ({"scores": np.zeros(3)}, TypeError, "Answer.scores: an array of format 'd' where [float] is expected: convert it to 'f' (array.astype)"),
    ({"scores": np.zeros((2, 2), np.float32)}, TypeError, "Answer.scores: an array of 2 dimensions where [float] has one: pass array.ravel()"),
    ({"scores": np.array([None])}, TypeError, "Answer.scores: an array of format 'O' where [float] is expected: convert it to 'f' (array.astype)"),
    ({"scores": "abc"}, TypeError, "Answer.scores: a str where a list or an array is expected"),
    ({"level": "Higher"}, ValueError, "Answer.level: Level has no value of that name"),
    ({"colors": [1, 256]}, OverflowError, "Answer.colors[1]: 256 is out of range of ubyte (0 to 255)"),
    ({"points": [(1, 2)]}, TypeError, "Answer.points[0]: 2 values where Vec3 has 3 fields"),
    ({"points": [{"x": 1, "y": 2}]}, TypeError, "Answer.points[0].z: is not given, and a struct has all of its fields"),
    ({"mixed": (True, (1, 2, 3), 1, [1, 2], [])}, ValueError, "Answer.mixed.path: 2 values where it has 3"),
    ({"extra": {}}, TypeError, "Answer.extra: a dict is no member of Extra (Image, Note, Where, Words); make one by its type, or say which by extra_type"),
    ({"extra": {}, "extra_type": "Note"}, TypeError, "Answer.extra.text: is required and not given"),
    ({"extra": "x", "extra_type": 9}, ValueError, "Answer.extra: Extra has no type 9"),
    ({"extra": "x", "extra_type": 0}, ValueError, "Answer.extra: its type is NONE, and a value is given"),
    ({"extra_type": "Note"}, ValueError, "Answer.extra_type: a type is given, and no extra"),
    ({"extras": [3]}, TypeError, "Answer.extras[0]: an int is no member of Extra"),
    ({"extras": ["x"], "extras_type": []}, ValueError, "Answer.extras: extras_type has not as many items"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "error", "words"), WRONG, ids=[words.split(":")[0] + f"-{i}" for i, (_, _, words) in enumerate(WRONG)]
)
def test_a_field_that_cannot_be_is_told_with_its_place(fields: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        shop.Answer(**fields)
    assert str(raised.value).startswith(words)
    check_full(full())  # the builder is as good as before


def test_tables_and_structs_are_called_rightly() -> None:
    with pytest.raises(TypeError, match="a table takes its fields by name, or one dict or view"):
        shop.Answer("a", "b")
    with pytest.raises(TypeError, match="Vec3.y: is not given"):
        shop.Vec3(1)
    with pytest.raises(TypeError, match="x is given twice"):
        shop.Vec3(1, x=1, y=2, z=3)
    with pytest.raises(TypeError, match="it has 3 fields, and 4 values are given"):
        shop.Vec3(1, 2, 3, 4)
    assert shop.Vec3(1, 2, z=3).z == 3.0
    assert shop.Answer({"label": "from a dict"}).label == "from a dict"


def test_a_view_of_another_schema_is_told() -> None:
    with pytest.raises(TypeError, match="of another samovar.schema\\(\\) of the same file"):
        shop.Answer(best=samovar.schema(SCHEMAS / "shop.bfbs").Item())


def test_views_cannot_be_changed() -> None:
    built = full()
    with pytest.raises(AttributeError):
        built.score = 1
    with pytest.raises(TypeError):
        shop.Answer.score = 1
    with pytest.raises(TypeError):
        built.scores[0] = 1
    with pytest.raises(BufferError, match="this Item is a part of a FlatBuffer"):
        bytes(built.best)


def test_nesting_ends_somewhere() -> None:
    deep: dict[str, Any] = {}
    for _ in range(62):
        deep = {"children": [deep]}
    assert shop.view(bytes(shop.Answer(best=deep))).best is not None
    with pytest.raises(ValueError, match="is nested deeper than 64 tables"):
        shop.Answer(best={"children": [deep]})
    circle: dict[str, Any] = {}
    circle["children"] = [circle]
    with pytest.raises(ValueError, match="is nested deeper than 64 tables"):
        shop.Answer(best=circle)


def test_user_code_that_builds_or_changes_things_meanwhile_is_harmless() -> None:
    items: list[Any] = []

    class Number:
        def __float__(self) -> float:
            items.clear()
            assert shop.Answer(label="inner", scores=[1.0]).label == "inner"
            return 3.0

    assert shop.Answer(label="outer", score=Number()).score == 3.0
    items.extend([{"score": Number()}, {"score": 1.0}])
    with pytest.raises(RuntimeError, match="Answer.items: the list has changed while it was read"):
        shop.Answer(items=items)

    class Broken:
        def __float__(self) -> float:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shop.Answer(score=Broken())


# ---- buffers


def test_a_buffer_of_another_schema_or_identifier_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match='has the file identifier "ANSW" where "SHOP" is expected'):
        shop.view(stock_buffer())
    with pytest.raises(ValueError, match='has no file identifier where "ANSW" is expected'):
        answer.view(stock_buffer(None))
    with pytest.raises(ValueError, match="the FlatBuffer of 3 bytes is too short to be one"):
        shop.view(b"abc")
    with pytest.raises(TypeError):
        shop.view("abc")


def test_a_cut_or_damaged_buffer_is_refused_with_the_place_or_read() -> None:
    whole = bytes(full())
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="the FlatBuffer "):
            shop.view(whole[:size])
    chance = random.Random(7)
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 4, 127, 128, 255, chance.randrange(256)))
        try:
            touch(shop.view(damaged))
        except ValueError as error:
            assert "FlatBuffer" in str(error) or "UTF-8" in str(error)


def touch(view: Any) -> None:
    """Every field, all the way down."""
    for name in dir(type(view)):
        if not name.startswith("__"):
            touch_value(getattr(view, name))
    repr(view)


def touch_value(value: Any) -> None:
    if type(value).__module__.startswith("samovar.schema"):
        touch(value)
    elif isinstance(value, memoryview):
        value.tolist()
    elif hasattr(value, "__getitem__") and not isinstance(value, str):
        for item in value:
            touch_value(item)


def test_bytes_that_change_under_a_view_stay_within_bounds() -> None:
    whole = bytes(full())
    chance = random.Random(11)
    for _ in range(3000):
        buffer = bytearray(whole)
        view = shop.view(buffer)
        item, names = view.items[1], view.names
        for _ in range(chance.randint(1, 40)):
            buffer[chance.randrange(len(buffer))] = chance.choice((0, 1, 255, chance.randrange(256)))
        for use in (
            lambda: touch(view),
            lambda: touch(item),
            lambda: list(names),
            lambda: shop.Answer(view),
            lambda: shop.Item(item),
        ):  # noqa: B023
            try:
                use()
            except (RuntimeError, ValueError, RecursionError):
                pass


def test_an_unaligned_buffer_is_copied() -> None:
    padded = memoryview(b"x" + bytes(full()))[1:]
    check_full(shop.view(padded))


def test_a_size_in_front_is_read_over() -> None:
    builder = flatbuffers.Builder(64)
    scores = builder.CreateNumpyVector(np.arange(3, dtype=np.float32))
    StockAnswer.AnswerStart(builder)
    StockAnswer.AnswerAddScores(builder, scores)
    builder.FinishSizePrefixed(StockAnswer.AnswerEnd(builder), b"ANSW")
    assert list(answer.view(builder.Output()).scores) == [0, 1, 2]


# ---- schemas


def test_a_schema_names_its_members() -> None:
    assert repr(shop) == "<samovar.schema shop.bfbs>"
    assert (shop.root, shop.file_identifier) == (shop.Answer, "SHOP")
    assert shop["shop.Item"] is shop.Item is shop["Item"]
    assert shop.Color.Blue == 8 and shop.Extra.Words == 4
    assert {"Answer", "Color", "shop.Vec3", "view"} <= set(dir(shop))
    assert full().__table__ == "shop.Answer"
    assert "[float]" in shop.Answer.scores.__doc__ and "What it is, in words." in shop.Answer.label.__doc__
    assert shop.Answer.__doc__ == "What a model says."
    with pytest.raises(AttributeError, match="shop.bfbs has no table, struct or enum 'Answr'; did you mean 'Answer'?"):
        _ = shop.Answr
    with pytest.raises(KeyError):
        shop["Answr"]
    with pytest.raises(AttributeError, match="Answer has no field 'lable'; did you mean 'label'?"):
        _ = full().lable


def test_repr_is_short_and_tells() -> None:
    assert (
        repr(shop.Item(name="x" * 100, position=(1, 2, 3)))
        == f"Item(name={'x' * 60!r}..., score=0.5, color=2, position=<Vec3>)"
    )
    assert repr(full().items) == "<2 Item>"
    assert repr(shop.Vec3(1, 2, 3)) == "Vec3(x=1.0, y=2.0, z=3.0)"


def test_what_is_no_schema_is_refused() -> None:
    bfbs = (SCHEMAS / "shop.bfbs").read_bytes()
    with pytest.raises(ValueError, match="the schema is no schema: it is not what `flatc -b --schema` writes"):
        samovar.schema(b"not a schema at all")
    with pytest.raises(FileNotFoundError):
        samovar.schema("no_such.bfbs")
    for size in range(0, len(bfbs), 7):
        with pytest.raises(ValueError, match="is no schema"):
            samovar.schema(bfbs[:size])
    chance = random.Random(5)
    accepted = 0
    for _ in range(2000):
        damaged = bytearray(bfbs)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(8, len(damaged))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        try:
            mine = samovar.schema(bytes(damaged))
            accepted += 1
            touch(mine.view(bytes(full())))
        except (ValueError, TypeError, AttributeError):
            pass
    assert accepted > 0


def test_a_path_is_relative_to_the_calling_module(tmp_path: Path) -> None:
    (tmp_path / "answer.bfbs").write_bytes((SCHEMAS / "answer.bfbs").read_bytes())
    (tmp_path / "mine.py").write_text("import samovar\nprint(samovar.schema('answer.bfbs').root.__name__)\n")
    done = subprocess.run([sys.executable, tmp_path / "mine.py"], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "Answer\n"


def test_a_method_takes_a_schema_with_a_root() -> None:
    from samovar.methods import Registry

    registry = Registry()
    registry.add_method(lambda argument: None, "good", schema=answer)
    assert registry.methods[0].schema is answer
    with pytest.raises(TypeError, match="schema= takes what samovar.schema\\(\\) returns, not str"):
        registry.add_method(lambda argument: None, "bad", schema="answer.bfbs")  # type: ignore[arg-type]
