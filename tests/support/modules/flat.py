"""Methods that take and return FlatBuffers: through samovar.schema(), and through the code that flatc generates."""

from __future__ import annotations

import flatbuffers
from fbs import Answer, Item

import samovar

answer = samovar.schema("answer.bfbs")
kept = []


@samovar.method(schema=answer)
def echo(argument):
    return argument


@samovar.method(schema=answer)
def shown(argument):
    return repr(argument)


@samovar.method(schema=answer)
def total(argument):
    return sum(argument.scores) if argument.scores else 0.0


@samovar.method(schema=answer)
def best(argument):
    """A part of the argument: a FlatBuffer of its own, with an Item as its root."""
    return argument.best


@samovar.method(schema=answer)
def keeps(argument):
    kept.append(argument)


@samovar.method
def kept_total():
    scores = kept.pop().scores
    return sum(scores), scores.readonly, scores.format


@samovar.method
def built(count):
    return answer.Answer(
        label="made here",
        score=2.5,
        scores=[0.25 * i for i in range(count)],
        items=[answer.Item(name="one", color=answer.Color.Blue), {"name": "two", "score": 3.5, "position": (1, 2, 3)}],
        extra=answer.Note(text="a note"),
        names=["a", "б"],
        points=[(1, 2, 3), (4, 5, 6)],
        maybe=7,
    )


@samovar.method
def built_wrongly():
    return answer.Answer(items=[{"name": "one"}, {"score": "much"}])


@samovar.method
def of_another_type():
    return answer.Note(text="no answer")


@samovar.method
def stock(argument):
    """Read and built by generated code."""
    seen = Answer.Answer.GetRootAs(argument, 0)
    builder = flatbuffers.Builder(256)
    label = builder.CreateString(seen.Label().decode().upper())
    Item.ItemStart(builder)
    Item.ItemAddScore(builder, seen.Items(0).Score() if seen.ItemsLength() else 0.0)
    best = Item.ItemEnd(builder)
    Answer.AnswerStart(builder)
    Answer.AnswerAddLabel(builder, label)
    Answer.AnswerAddScore(builder, float(seen.ScoresAsNumpy().sum()) if seen.ScoresLength() else 0.0)
    Answer.AnswerAddBest(builder, best)
    builder.Finish(Answer.AnswerEnd(builder), b"ANSW")
    return samovar.flatbuffer(builder)


@samovar.method
def damaged():
    return samovar.flatbuffer(b"\x10\0\0\0ANSW" + bytes(range(64)))


@samovar.method
def raw(argument):
    return samovar.flatbuffer(argument)


@samovar.method
def kind(argument):
    return f"{type(argument).__name__} {argument.readonly}"
