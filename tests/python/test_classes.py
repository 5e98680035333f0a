"""Handlers as classes, and methods that take batches: what is registered, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import samovar
from samovar import methods


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> methods.Registry:
    fresh = methods.Registry()
    monkeypatch.setattr(methods, "registry", fresh)
    return fresh


def set_up(registry: methods.Registry) -> None:
    for hook in registry.preload:
        hook()


def test_class_stays_a_class_and_has_one_instance_that_is_called(registry: methods.Registry) -> None:
    @samovar.method
    class Adder:
        def setup(self) -> None:
            self.total = 0

        def handle(self, number: int, *, ctx: Any) -> int:
            self.total += number
            return self.total

    set_up(registry)
    (method,) = registry.methods
    assert (method.name, method.wants_ctx, method.limits.positional_min, method.limits.positional_max) == (
        "Adder",
        True,
        1,
        1,
    )
    assert [method.function(2, ctx=None), method.function(3, ctx=None)] == [2, 5]
    plain = Adder()
    plain.setup()
    assert plain.handle(1, ctx=None) == 1


def test_class_with_handle_batch_takes_batches(registry: methods.Registry) -> None:
    @samovar.method("double", max_batch=4, max_wait="1ms")
    class Doubler:
        def handle(self, item: int) -> int:
            return 2 * item

        def handle_batch(self, items: list[int]) -> list[int]:
            return [self.handle(item) for item in items]

    set_up(registry)
    (method,) = registry.methods
    assert (method.name, method.batch_max, method.batch_wait_ns) == ("double", 4, 1_000_000)
    assert method.function([1, 2]) == [2, 4]


def test_classes_inherit_and_have_an_instance_each(registry: methods.Registry) -> None:
    class Base:
        def setup(self) -> None:
            self.name = type(self).__name__

        def handle(self) -> str:
            return self.name

    samovar.method(type("First", (Base,), {}))
    samovar.method(type("Second", (Base,), {}))
    set_up(registry)
    assert [method.function() for method in registry.methods] == ["First", "Second"]


def test_teardown_is_for_instances_that_were_set_up(registry: methods.Registry) -> None:
    ended = []

    @samovar.method
    class Ends:
        def handle(self) -> None:
            pass

        def teardown(self) -> None:
            ended.append(self)

    (hook,) = registry.teardown
    hook()
    assert not ended
    set_up(registry)
    hook()
    assert len(ended) == 1


def test_class_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="Empty needs a method `handle"):
        samovar.method(type("Empty", (), {}))
    with pytest.raises(TypeError, match="which it lacks"):
        samovar.method(batch=True)(type("Single", (), {"handle": lambda self, x: x}))


def test_batch_has_its_defaults(registry: methods.Registry) -> None:
    @samovar.method(batch=True)
    def score(items: list[Any], *, ctx: Any) -> list[Any]:
        return items

    (method,) = registry.methods
    assert (method.batch_max, method.batch_wait_ns) == (32, 200_000)
    assert (method.limits.positional_min, method.limits.positional_max) == (0, methods.ANY_NUMBER)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 4}, "say batch=True"),
        ({"max_wait": "1ms"}, "say batch=True"),
        ({"batch": "list"}, 'True, False or "stack"'),
        ({"batch": True, "max_batch": 1}, "from 2 to 1024"),
        ({"batch": True, "max_batch": 1025}, "from 2 to 1024"),
        ({"batch": True, "max_batch": 2.0}, "a number of calls, not float"),
        ({"batch": True, "max_wait": "200 parsecs"}, "max_wait is a duration"),
        ({"batch": True, "max_wait": -1}, "max_wait is a duration"),
        ({"batch": True, "max_wait": float("nan")}, "max_wait is a duration"),
        ({"batch": True, "max_wait": [1]}, "not list"),
        ({"batch": True, "max_wait": "2h"}, "at most an hour"),
    ],
)
def test_batch_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):

        @samovar.method(**options)
        def score(items: list[Any]) -> list[Any]:
            return items


@pytest.mark.parametrize(
    "source",
    ["def f(): ...", "def f(a, b): ...", "def f(items, *, other): ...", "def f(items): yield 1", "async def f(items): ..."],
)
def test_functions_that_cannot_take_a_batch_are_refused(source: str) -> None:
    names: dict[str, Any] = {}
    exec(source, names)
    with pytest.raises(TypeError):
        samovar.method(batch=True)(names["f"])


@pytest.mark.parametrize(
    ("given", "expected"), [("200us", 200_000), ("1ms", 1_000_000), ("0.5s", 500_000_000), (0, 0), (0.25, 250_000_000)]
)
def test_waits_are_durations(given: Any, expected: int, registry: methods.Registry) -> None:
    samovar.method("waits", batch=True, max_wait=given)(lambda items: items)
    assert registry.methods[0].batch_wait_ns == expected
