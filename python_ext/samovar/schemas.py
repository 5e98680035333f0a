"""FlatBuffers of the user's own schema: what the handler sees, and what it returns."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from samovar._native import FlatBuffer, Schema


def schema(source: str | os.PathLike[str] | bytes) -> Schema:
    """Load a FlatBuffers schema in binary form, as `flatc --binary --schema answer.fbs` writes it (answer.bfbs).

    `source` is its path, relative to the file of the calling module, or its bytes.

        answer = samovar.schema("answer.bfbs")

        @samovar.method(schema=answer)          # the argument, verified: a view of the schema's root table
        def score(question):
            return answer.Answer(label=question.label, scores=[0.5, 0.25])

    Its tables, structs and enums are attributes: `answer.Answer`, `answer.Color.Red`; by full name, `answer["shop.Item"]`.
    Calling a table's type builds one: fields by name, checked; lists, dicts, arrays and views as values. What is built is a
    view, too. A view's fields are scalars, str, views, sequences of them, and memoryviews of scalars; None for what is
    absent. It cannot be changed, and may be kept: it keeps the memory that it shows.

    Raises OSError where it cannot be read, ValueError where it is no schema.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Schema(source, "the schema")
    path = Path(source)
    if not path.is_absolute():
        caller = sys._getframe(1).f_globals.get("__file__")
        path = (Path(caller).parent if caller else Path.cwd()) / path
    return Schema(path.read_bytes(), path.name)


def flatbuffer(source: Any) -> FlatBuffer:
    """Return a finished FlatBuffer from a method: a stock `flatbuffers.Builder` after Finish(), or bytes.

    Without it, bytes are sent as bytes. What a schema's own types have built needs no wrapping.
    """
    return FlatBuffer(source)
