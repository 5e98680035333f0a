"""One FlatBuffer read and built by samovar.schema() and by the code that flatc generates, in one process: prints one line of JSON.

    schema_fields.py SCHEMAS          where `bench/schemas/answer.fbs` was compiled to (answer.bfbs, bench_fbs/)

Medians in nanoseconds, of rounds in which the contestants take turns. A field is a double that is there; what the loop itself
takes is subtracted. A reply is an Answer with 384 floats from a NumPy array, finished with its identifier and fit to be sent; the stock
builder copies the array, too (CreateNumpyVector); element by element, as generated code has it, it takes some ten times longer.
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import flatbuffers
import numpy as np

import samovar

ROUNDS = 25
FIELDS = 4000
REPLIES = 200


def main(schemas: Path) -> None:
    sys.path.insert(0, str(schemas))
    from bench_fbs import Answer as generated

    schema = samovar.schema(schemas / "answer.bfbs")
    scores = np.arange(384, dtype=np.float32)
    numbers = scores.tolist()
    buffer = bytes(schema.Answer(label="hello", score=2.5, count=7, scores=scores))
    view = schema.view(buffer)
    stock = generated.Answer.GetRootAs(buffer, 0)

    def finish(builder: flatbuffers.Builder, vector: int) -> bytearray:
        generated.AnswerStart(builder)
        generated.AnswerAddScores(builder, vector)
        builder.Finish(generated.AnswerEnd(builder), b"BNCH")
        return builder.Output()

    def stock_reply() -> bytearray:
        builder = flatbuffers.Builder(2048)
        return finish(builder, builder.CreateNumpyVector(scores))

    def stock_reply_by_element() -> bytearray:
        builder = flatbuffers.Builder(2048)
        generated.AnswerStartScoresVector(builder, len(numbers))
        for number in reversed(numbers):
            builder.PrependFloat32(number)
        return finish(builder, builder.EndVector())

    def native_reply() -> Any:
        return schema.Answer(scores=scores)

    def native_reply_of_list() -> Any:
        return schema.Answer(scores=numbers)

    for reply in (stock_reply, stock_reply_by_element, native_reply, native_reply_of_list):
        assert np.array_equal(np.asarray(schema.view(bytes(reply())).scores), scores), reply.__name__
    assert stock.Score() == view.score == 2.5

    names = {"view": view, "stock": stock}
    contestants: dict[str, tuple[Callable[[], float], float]] = {
        "loop": (lambda: timeit.timeit("pass", globals=names, number=FIELDS), FIELDS),
        "schema_field_ns": (lambda: timeit.timeit("view.score", globals=names, number=FIELDS), FIELDS),
        "stock_field_ns": (lambda: timeit.timeit("stock.Score()", globals=names, number=FIELDS // 10), FIELDS // 10),
        "reply_384_native_ns": (lambda: timeit.timeit(native_reply, number=REPLIES), REPLIES),
        "reply_384_stock_ns": (lambda: timeit.timeit(stock_reply, number=REPLIES // 4), REPLIES // 4),
        "reply_384_list_native_ns": (lambda: timeit.timeit(native_reply_of_list, number=REPLIES), REPLIES),
        "reply_384_list_stock_ns": (lambda: timeit.timeit(stock_reply_by_element, number=4), 4),
    }
    took: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (run, count) in contestants.items():
            took[name].append(run() / count * 1e9)
    medians = {name: median(samples) for name, samples in took.items()}
    loop = medians.pop("loop")
    for name in ("schema_field_ns", "stock_field_ns"):
        medians[name] -= loop
    print(json.dumps({name: round(value, 1) for name, value in medians.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
