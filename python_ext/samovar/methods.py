"""The decorators, and what they have collected: the methods and hooks of the user's module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

AnyFunction = Callable[..., Any]
F = TypeVar("F", bound=AnyFunction)


ANY_NUMBER = 2**32 - 1
SIGNATURE_LENGTH_MAX = 100


@dataclass(frozen=True)
class Limits:
    """What a function can be called with, positionally and beside `ctx`. The defaults say: not known."""

    positional_min: int = 0
    positional_max: int = ANY_NUMBER
    keyword: str = ""
    """A parameter that can only be given by name, and must be: so no call of the host can succeed."""
    signature: str = ""


@dataclass(frozen=True)
class Method:
    """A function that the host calls by name. native/method.cc reads it."""

    name: str
    function: AnyFunction
    wants_ctx: bool
    place: str
    limits: Limits
    stream: bool = False
    """It answers in chunks."""
    asynchronous: bool = False
    """It runs in the worker's event loop, beside others."""
    batch_max: int = 1
    """Calls that it takes at once."""
    batch_wait_ns: int = 0
    """How long a call may wait for others to be taken with."""


class Hooks:
    """Functions without arguments, in the order of their registration."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: dict[str, AnyFunction] = {}

    def add(self, function: AnyFunction) -> None:
        if not callable(function):
            raise TypeError(f"@samovar.{self.name} needs a function, not {type(function).__name__}")
        self._functions[place_of(function)] = function  # a module that is executed twice has each hook once

    def __iter__(self) -> Iterator[AnyFunction]:
        return iter(list(self._functions.values()))


class Registry:
    """Methods, in the order of their registration, and hooks."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self.preload = Hooks("preload")
        self.before_fork = Hooks("before_fork")
        self.after_fork = Hooks("after_fork")

    def add_method(self, function: AnyFunction, name: str, *, stream: bool = False) -> None:
        check_method(function, name)
        stream = stream or inspect.isgeneratorfunction(function)
        added = Method(name, function, wants_ctx(function), place_of(function), limits_of(function), stream=stream)
        known = self._methods.get(name)
        # A module may be executed twice (by `python -m` and by an import): the same place is the same method.
        if known is not None and known.function is not function and known.place != added.place:
            raise ValueError(
                f"two methods are named {name!r}: {known.place} and {added.place}. "
                f'Give one of them another name: @samovar.method("other_name").'
            )
        self._methods[name] = added

    @property
    def methods(self) -> list[Method]:
        return list(self._methods.values())


registry = Registry()


@overload
def method(function: F, /) -> F: ...
@overload
def method(name: str | None = None, *, stream: bool = False) -> Callable[[F], F]: ...
def method(name: Any = None, *, stream: bool = False) -> Any:
    """Let the host call a function by its name, or by the name given: @samovar.method, @samovar.method("name").

    The function stays as it is. If it declares a parameter `ctx`, it gets a samovar.Context there.
    A generator function is a stream: each item it yields goes to the host as a chunk, at most `stream_window` ahead of who
    takes them, and what it returns ends the stream. `stream=True` says so of a function that returns an iterator. Where
    nobody waits for more the generator is closed: GeneratorExit is raised at its yield.
    """
    if name is not None and not isinstance(name, str):
        registry.add_method(name, getattr(name, "__name__", ""))
        return name

    def register(function: F) -> F:
        registry.add_method(function, name if name is not None else getattr(function, "__name__", ""), stream=stream)
        return function

    return register


def preload(function: F) -> F:
    """Call a function without arguments once, after the module is imported and before the first call.

    Where workers are forked it runs in the nursery, and they share the memory of what it loads; else in each worker.
    """
    registry.preload.add(function)
    return function


def before_fork(function: F) -> F:
    """Call a function without arguments in the nursery, before each fork of a worker."""
    registry.before_fork.add(function)
    return function


def after_fork(function: F) -> F:
    """Call a function without arguments in each worker, before its first call.

    For what processes must not share: connections, open files, seeds of random generators, threads. (Those of `random` and
    `numpy.random` are seeded anew without it.) A worker that was not forked calls it after its preload hooks.
    """
    registry.after_fork.add(function)
    return function


def check_method(function: AnyFunction, name: str) -> None:
    if not callable(function):
        raise TypeError(f"@samovar.method needs a function, or a name as a str, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{place_of(function)}: async functions cannot be methods yet; declare it with a plain def")
    if not name or "\0" in name:
        raise ValueError(f'{place_of(function)} needs a name: @samovar.method("name")')
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} cannot be the name of a method: UTF-8 cannot say it") from None


def wants_ctx(function: AnyFunction) -> bool:
    """Whether `ctx` can be given as a keyword because the function names it."""
    try:
        parameter = inspect.signature(function).parameters.get("ctx")
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def limits_of(function: AnyFunction) -> Limits:
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a decorator may take other arguments
    except (TypeError, ValueError):
        return Limits()
    required = allowed = 0
    keyword = ""
    by_name = False  # behind `ctx`, which the worker gives by name
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            allowed = allowed if by_name else ANY_NUMBER
        elif parameter.name == "ctx" and parameter.kind is not parameter.POSITIONAL_ONLY:
            by_name = True
        elif by_name or parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                keyword = keyword or parameter.name
        else:
            allowed += 1
            required += parameter.default is parameter.empty
    return Limits(required, allowed, keyword, shown(signature))


def shown(signature: inspect.Signature) -> str:
    """The parameters without annotations, or nothing where that is long."""
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    try:
        text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    except Exception:  # the repr of a default is the user's code
        return ""
    return text if len(text) <= SIGNATURE_LENGTH_MAX else ""


def place_of(function: AnyFunction) -> str:
    """Where a function is written, for people: `score (/srv/models.py:12)`."""
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return repr(function)
    return f"{getattr(plain, '__qualname__', code.co_name)} ({code.co_filename}:{code.co_firstlineno})"
