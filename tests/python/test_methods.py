"""The decorators of samovar: what they register, and what they refuse."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import samovar
from samovar import methods


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> methods.Registry:
    fresh = methods.Registry()
    monkeypatch.setattr(methods, "registry", fresh)
    return fresh


def execute(source: str, filename: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), names)
    return names


def test_method_stays_a_plain_function(registry: methods.Registry) -> None:
    def score(x: int) -> int:
        return x + 1

    decorated = samovar.method(score)

    assert decorated is score
    assert decorated(1) == 2
    assert [(m.name, m.function) for m in registry.methods] == [("score", score)]


@pytest.mark.parametrize("arguments", [(("other",), {}), ((), {"name": "other"})])
def test_method_takes_a_name(registry: methods.Registry, arguments: tuple[tuple[str, ...], dict[str, str]]) -> None:
    positional, keyword = arguments

    @samovar.method(*positional, **keyword)
    def score() -> None: ...

    assert [m.name for m in registry.methods] == ["other"]


def test_method_with_empty_parentheses_uses_the_function_s_name(registry: methods.Registry) -> None:
    @samovar.method()
    def score() -> None: ...

    assert [m.name for m in registry.methods] == ["score"]


def test_methods_keep_their_order(registry: methods.Registry) -> None:
    for name in ("b", "a", "c"):
        samovar.method(name)(len)

    assert [m.name for m in registry.methods] == ["b", "a", "c"]


def test_two_functions_of_one_name_are_refused_with_both_places() -> None:
    samovar.method(execute("def score(): pass", "/srv/one.py")["score"])

    with pytest.raises(ValueError, match=r"'score'.*/srv/one\.py:1.*/srv/two\.py:1"):
        samovar.method(execute("def score(): pass", "/srv/two.py")["score"])


def test_copy_of_a_method_further_down_in_the_same_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one\.py:3.*one\.py:5"):
        execute(
            "import samovar\n@samovar.method\ndef a(): 1\n@samovar.method\ndef a(): 2".replace("\n@", "\n\n@", 1), "one.py"
        )


def test_module_executed_twice_registers_its_methods_once(registry: methods.Registry) -> None:
    source = "import samovar\n@samovar.method\ndef score(): pass\n@samovar.preload\ndef load(): pass"
    execute(source, "/srv/models.py")
    second = execute(source, "/srv/models.py")

    assert [m.function for m in registry.methods] == [second["score"]]
    assert list(registry.preload) == [second["load"]]


@pytest.mark.parametrize("name", ["preload", "before_fork", "after_fork"])
def test_hooks_stay_plain_functions_and_keep_their_order(name: str, registry: methods.Registry) -> None:
    hook = getattr(samovar, name)
    first = hook(execute("def first(): return 1", "/srv/models.py")["first"])
    second = hook(execute("def second(): return 2", "/srv/models.py")["second"])

    assert list(getattr(registry, name)) == [first, second]
    assert first() == 1
    with pytest.raises(TypeError, match=f"@samovar.{name} needs a function, not int"):
        hook(7)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x, *, ctx): ...", True),
        ("def f(x, ctx): ...", True),
        ("def f(x, *, ctx=None): ...", True),
        ("def f(ctx, /): ...", False),
        ("def f(x, **rest): ...", False),
        ("def f(*ctx): ...", False),
        ("def f(): ...", False),
        ("f = len", False),
        ("f = dict", False),
    ],
)
def test_ctx_is_given_where_it_is_declared(source: str, expected: bool) -> None:
    assert methods.wants_ctx(execute(source, "models.py")["f"]) is expected


def test_ctx_is_seen_through_wraps(registry: methods.Registry) -> None:
    def inner(x: int, *, ctx: object) -> None: ...

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> None:
        inner(*args, **kwargs)

    samovar.method(outer)

    assert registry.methods[0].wants_ctx


def test_bound_methods_and_builtins_can_be_methods(registry: methods.Registry) -> None:
    samovar.method(name="upper")("x".upper)
    samovar.method(len)

    assert [m.name for m in registry.methods] == ["upper", "len"]


def test_coroutine_functions_are_asynchronous_methods(registry: methods.Registry) -> None:
    @samovar.method
    async def score() -> None: ...

    @samovar.method
    def plain() -> None: ...

    assert [m.asynchronous for m in registry.methods] == [True, False]


def test_async_generators_are_streams(registry: methods.Registry) -> None:
    @samovar.method
    async def tokens() -> AsyncIterator[str]:
        yield "one"

    @samovar.method(stream=True)
    async def listed() -> Iterator[int]:
        return iter([1])

    class Tokens:
        async def handle(self, n: int) -> AsyncIterator[int]:
            yield n

    samovar.method("tokens_of_class")(Tokens)
    for hook in registry.preload:
        hook()

    assert [(m.stream, m.asynchronous) for m in registry.methods] == [(True, True)] * 3
    with pytest.raises(TypeError, match="a stream cannot take batches"):
        samovar.method("batched", batch=True)(tokens)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_names_that_cannot_travel_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        samovar.method(name)(len)


def test_partial_without_a_name_asks_for_one() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        samovar.method(functools.partial(len, "x"))


def test_things_that_cannot_be_called_are_refused() -> None:
    with pytest.raises(TypeError, match="needs a function"):
        samovar.method(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="needs a function"):
        samovar.preload(3)  # type: ignore[type-var]


def test_unknown_attribute_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        samovar.nothing  # noqa: B018


Any3 = (0, methods.ANY_NUMBER, "")


@pytest.mark.parametrize(
    ("parameters", "limits"),
    [
        ("", (0, 0, "")),
        ("a, b", (2, 2, "")),
        ("a, b=1", (1, 2, "")),
        ("a, /, b", (2, 2, "")),
        ("*rest", Any3),
        ("a, *rest", (1, methods.ANY_NUMBER, "")),
        ("a, **more", (1, 1, "")),
        ("a, *, ctx", (1, 1, "")),
        ("a, ctx", (1, 1, "")),
        ("a, *, mode=1, ctx", (1, 1, "")),
        ("a, *, mode", (1, 1, "mode")),
        ("ctx, a", (0, 0, "a")),  # ctx is given by name, so nothing behind it can be given without
        ("ctx, a=1", (0, 0, "")),
        ("ctx, *rest", (0, 0, "")),
        ("ctx, /", (1, 1, "")),
        ("*ctx", Any3),
    ],
)
def test_limits_are_what_the_host_can_call_a_function_with(parameters: str, limits: tuple[int, int, str]) -> None:
    function = execute(f"def f({parameters}): ...", "m.py")["f"]

    found = methods.limits_of(function)

    assert (found.positional_min, found.positional_max, found.keyword) == limits
    assert found.signature == f"({parameters})"


def test_limits_of_a_function_without_a_signature_are_unknown() -> None:
    assert methods.limits_of(max) == methods.Limits()


def test_signature_is_shown_without_annotations_and_only_if_short() -> None:
    def short(symbol: str, quantity: int = 1) -> float: ...
    def long(a: object = "x" * methods.SIGNATURE_LENGTH_MAX) -> None: ...

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    def odd(a: object = Odd()) -> None: ...

    assert methods.limits_of(short).signature == "(symbol, quantity=1)"
    assert methods.limits_of(long).signature == ""
    assert methods.limits_of(odd) == methods.Limits(0, 1)


def test_limits_are_those_of_the_wrapper_which_is_what_gets_called() -> None:
    def inner(database: object, a: int) -> None: ...

    @functools.wraps(inner)
    def outer(*arguments: Any) -> None: ...

    assert methods.limits_of(outer).positional_max == methods.ANY_NUMBER
