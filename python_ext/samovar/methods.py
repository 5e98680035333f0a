"""The decorators, and what they have collected: the methods and hooks of the user's module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from samovar import durations
from samovar.classes import Handler
from samovar.stacking import Stacked

if TYPE_CHECKING:
    from samovar._native import Schema

AnyFunction = Callable[..., Any]
Tensors = Literal["numpy"] | Callable[[Any], Any] | None
F = TypeVar("F", bound=AnyFunction)


ANY_NUMBER = 2**32 - 1
SIGNATURE_LENGTH_MAX = 100
BATCH_MIN = 2
BATCH_MAX = 1024
BATCH_DEFAULT = 32
BATCH_WAIT_DEFAULT = "200us"
BATCH_WAIT_MAX_NS = durations.NANOSECONDS["h"]


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
    stacks: bool = False
    """It is called with one array for all of them."""
    tensors: Tensors = "numpy"
    """What becomes of each tensor of its arguments: see method()."""
    schema: Schema | None = None
    """Of the FlatBuffer that it takes."""


@dataclass(frozen=True)
class Batch:
    """How a method takes several calls at once. The defaults say: it does not."""

    size_max: int = 1
    wait_ns: int = 0
    stacks: bool = False


ONE_AT_A_TIME = Batch()


class Hooks:
    """Functions without arguments, in the order of their registration."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: dict[str, AnyFunction] = {}

    def add(self, function: AnyFunction, place: str = "") -> None:
        if not callable(function):
            raise TypeError(f"@samovar.{self.name} needs a function, not {type(function).__name__}")
        self._functions[place or place_of(function)] = function  # a module that is executed twice has each hook once

    def __iter__(self) -> Iterator[AnyFunction]:
        return iter(list(self._functions.values()))


class Registry:
    """Methods, in the order of their registration, and hooks."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self._handlers: dict[str, Handler] = {}
        self.preload = Hooks("preload")
        self.before_fork = Hooks("before_fork")
        self.after_fork = Hooks("after_fork")
        self.teardown = Hooks("teardown")

    def add_method(
        self,
        function: AnyFunction,
        name: str,
        batch: Batch = ONE_AT_A_TIME,
        *,
        stream: bool = False,
        tensors: Tensors = "numpy",
        schema: Schema | None = None,
    ) -> None:
        check_method(function, name)
        check_tensors(function, tensors)
        check_schema(function, schema)
        limits = limits_of(function)
        if batch.size_max > 1:
            limits = limits_of_batch(function, limits, stream)
        added = Method(
            name,
            function,
            wants_ctx(function),
            place_of(function),
            limits,
            stream=stream or is_generator(function),
            asynchronous=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
            batch_max=batch.size_max,
            batch_wait_ns=batch.wait_ns,
            stacks=batch.stacks,
            tensors=tensors,
            schema=schema,
        )
        known = self._methods.get(name)
        # A module may be executed twice (by `python -m` and by an import): the same place is the same method.
        if known is not None and known.function is not function and known.place != added.place:
            raise ValueError(
                f"two methods are named {name!r}: {known.place} and {added.place}. "
                f'Give one of them another name: @samovar.method("other_name").'
            )
        self._methods[name] = added

    def add_class(self, handler: Handler, name: str, batch: Batch, **how: Any) -> None:
        """`how`: as add_method() takes it."""
        self.add_method(handler.shape(), name, batch, **how)
        self._handlers[name] = handler
        # By the name: classes may inherit what they do from one place.
        self.preload.add(handler.hook(handler.set_up, "setup"), name)
        self.after_fork.add(handler.hook(handler.after_fork, "after_fork"), name)
        self.teardown.add(handler.hook(handler.tear_down, "teardown"), name)

    @property
    def methods(self) -> list[Method]:
        """Requires, where classes are among them: the preload hooks have run."""
        return [self._as_called(method) for method in self._methods.values()]

    def _as_called(self, method: Method) -> Method:
        handler = self._handlers.get(method.name)
        function = handler.function() if handler is not None else method.function
        return replace(method, function=Stacked(function, method.name) if method.stacks else function)

    @property
    def has_methods(self) -> bool:
        return bool(self._methods)


registry = Registry()


@overload
def method(function: F, /) -> F: ...
@overload
def method(
    name: str | None = None,
    *,
    stream: bool = False,
    batch: bool | Literal["stack"] = False,
    max_batch: int | None = None,
    max_wait: str | float | None = None,
    tensors: Tensors = "numpy",
    schema: Schema | None = None,
) -> Callable[[F], F]: ...
def method(
    name: Any = None,
    *,
    stream: bool = False,
    batch: Any = False,
    max_batch: int | None = None,
    max_wait: str | float | None = None,
    tensors: Tensors = "numpy",
    schema: Schema | None = None,
) -> Any:
    """Let the host call a function by its name, or by the name given: @samovar.method, @samovar.method("name").

    The function stays as it is. If it declares a parameter `ctx`, it gets a samovar.Context there.

    A generator function is a stream: each item it yields goes to the host as a chunk, at most `stream_window` ahead of who
    takes them, and what it returns ends the stream. `stream=True` says so of a function that returns an iterator. Where
    nobody waits for more the generator is closed: GeneratorExit is raised at its yield. So is an async generator; where it
    awaits something then, it is cancelled there.

    An `async def` function runs as a task of the worker's event loop, beside up to `concurrency` - 1 others. So does a
    generator of its module, but that a plain one keeps the loop while it produces.

    With batch=True it is called with a list of arguments, one for each of 1 to `max_batch` calls (32; at most 1024), and
    returns a list with a result for each, in their order. The argument of a call stands there as it is, several as a tuple,
    none as None. An exception in the list returned is the failure of its call alone; one that is raised, or a list of
    another length, is that of all. The host forms the batches: calls wait for a worker, and for at most `max_wait` ("200us";
    a duration, or seconds as a number; 0: not at all) for others. `ctx` tells of the batch: `deadline` is the earliest,
    cancelled() is true once nobody waits for any of its calls, `call_id` that of the first.

    With batch="stack" it is called with one array in place of the list, the calls' arrays copied one after the other: for
    calls that each send float32 (224, 224), float32 (n, 224, 224). Several tensors of a call, or named ones, are stacked
    each for itself. It returns an array with n rows, a dict of such, or a list of n results; a row without dimensions is a
    number. Calls whose arrays differ in shape or dtype are not taken together, and one that sends no array fails alone.

    `tensors`: what it gets for each tensor of its arguments. "numpy": a read-only NumPy array over the same memory, or a
    samovar.Tensor where NumPy is not installed or has no such dtype. None: the samovar.Tensor. A function is called with
    that and returns what the method gets: tensors=torch.from_dlpack.

    `schema`, of samovar.schema(): its argument is a FlatBuffer, and it gets a view of it that has been verified. Without a
    schema it gets the bytes of a FlatBuffer.

    Of a class there is one instance in each worker process. `setup()` is called where preload hooks run, `handle(x)` for
    each call, or, where the class has it, `handle_batch(items)` for each batch (which needs no batch=True), `after_fork()`
    where those hooks run, `teardown()` when the worker ends because it is asked to. Only one of the two is required.
    """

    def register(function: Any, name: str | None) -> Any:
        called = name if name is not None else getattr(function, "__name__", "")
        if isinstance(function, type):
            handler = Handler(function)
            if batch and not handler.takes_batches:
                raise TypeError(f"{function.__qualname__} takes batches by `handle_batch(self, items)`, which it lacks")
            rule = batch_rule(batch or handler.takes_batches, max_batch, max_wait)
            registry.add_class(handler, called, rule, stream=stream, tensors=tensors, schema=schema)
        else:
            rule = batch_rule(batch, max_batch, max_wait)
            registry.add_method(function, called, rule, stream=stream, tensors=tensors, schema=schema)
        return function

    batch_rule(batch or max_batch is not None or max_wait is not None, max_batch, max_wait)  # what is wrong is told here
    if name is not None and not isinstance(name, str):
        return register(name, None)
    return lambda function: register(function, name)


def batch_rule(batch: object, max_batch: object, max_wait: str | float | None) -> Batch:
    if not isinstance(batch, bool) and batch != "stack":
        raise TypeError(f'batch is True, False or "stack", not {batch!r}')
    if not batch:
        for option, value in (("max_batch", max_batch), ("max_wait", max_wait)):
            if value is not None:
                raise TypeError(f"{option} is for methods that take several calls at once: say batch=True, too")
        return ONE_AT_A_TIME
    size = BATCH_DEFAULT if max_batch is None else max_batch
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"max_batch is a number of calls, not {type(size).__name__}")
    if not BATCH_MIN <= size <= BATCH_MAX:
        raise ValueError(f"max_batch is from {BATCH_MIN} to {BATCH_MAX} calls, not {size}")
    wait_ns = durations.nanoseconds(BATCH_WAIT_DEFAULT if max_wait is None else max_wait, "max_wait")
    if wait_ns > BATCH_WAIT_MAX_NS:
        raise ValueError(f"max_wait is at most an hour, not {max_wait!r}: a call waits so long for others")
    return Batch(size, wait_ns, stacks=batch == "stack")


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
    if not name or "\0" in name:
        raise ValueError(f'{place_of(function)} needs a name: @samovar.method("name")')
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} cannot be the name of a method: UTF-8 cannot say it") from None


def check_tensors(function: AnyFunction, tensors: object) -> None:
    if not (tensors is None or tensors == "numpy" or callable(tensors)):
        raise TypeError(f'{place_of(function)}: tensors is "numpy", None or a function, not {tensors!r}')


def check_schema(function: AnyFunction, schema: object) -> None:
    if schema is None:
        return
    from samovar._native import Schema  # where there is a schema it has been loaded already

    if not isinstance(schema, Schema):
        raise TypeError(f"{place_of(function)}: schema= takes what samovar.schema() returns, not {type(schema).__name__}")
    if schema.root is None:
        raise ValueError(f"{place_of(function)}: {schema!r} names no root_type, so it does not say what the argument is")


def is_generator(function: AnyFunction) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


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


def limits_of_batch(function: AnyFunction, limits: Limits, stream: bool) -> Limits:
    """What each call of a batch can have: the function itself is given their list."""
    if stream or is_generator(function):
        raise TypeError(f"{place_of(function)}: a stream cannot take batches; return a list with a result for each call")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{place_of(function)}: an `async def` method cannot take batches; make it a plain one")
    if limits.keyword or not limits.positional_min <= 1 <= limits.positional_max:
        raise TypeError(
            f"{place_of(function)} must take one argument, the list of what its calls were given (and `ctx`, if it likes): "
            f"def {getattr(function, '__name__', 'method')}(items)"
        )
    return Limits(signature=limits.signature)


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
