"""Methods with batch="stack": called with one array for all calls of a batch, in place of a list of arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

AnyFunction = Callable[..., Any]
Stack = Callable[[Sequence[Any]], Any]


class Stacked:
    """What the host calls with the list. Arrays that are alike are stacked; others are given on their own."""

    def __init__(self, function: AnyFunction, name: str) -> None:
        self.function = function
        self.name = name
        self.__wrapped__ = function  # the place in errors and logs is the user's

    def __call__(self, items: list[Any], **context: Any) -> list[Any]:
        results: list[Any] = [None] * len(items)
        groups: dict[Hashable, list[int]] = {}
        for place, item in enumerate(items):
            try:
                groups.setdefault(self._likeness(item), []).append(place)
            except TypeError as error:
                results[place] = error
        for places in groups.values():
            try:
                each = self._rows(self.function(stack([items[place] for place in places]), **context), len(places))
            except Exception as error:
                each = [error] * len(places)
            for place, result in zip(places, each, strict=True):
                results[place] = result
        return results

    def _likeness(self, item: Any) -> Hashable:
        """The same for items that can be stacked. Raises TypeError where one cannot be, whatever the others are."""
        if isinstance(item, dict):
            return dict, *((key, self._likeness(value)) for key, value in item.items())
        if isinstance(item, (list, tuple)):
            return type(item), *(self._likeness(value) for value in item)
        if stack_of(item) is None:
            raise TypeError(
                f"argument: {self.name} stacks what its calls are given, so it takes tensors (samovar::tensor(), "
                f'tensors()), not {type(item).__name__}; batch=True in place of "stack" takes anything, as a list'
            )
        return type(item), str(item.dtype), tuple(item.shape)

    def _rows(self, result: Any, calls: int) -> list[Any]:
        if isinstance(result, dict):
            columns = {key: self._rows_of(value, calls, f"[{key!r}]") for key, value in result.items()}
            rows = [{key: column[place] for key, column in columns.items()} for place in range(calls)]
            return [{key: number_of(value) for key, value in row.items()} if is_numbers(row) else row for row in rows]
        return [number_of(row) for row in self._rows_of(result, calls)]

    def _rows_of(self, result: Any, calls: int, where: str = "") -> Sequence[Any]:
        dimensionless = getattr(result, "shape", None) == ()
        is_text = isinstance(result, (str, bytes, bytearray, memoryview))
        if dimensionless or is_text or not hasattr(result, "__len__") or not hasattr(result, "__getitem__"):
            raise TypeError(
                f"result{where}: {self.name} was given {calls} calls at once and has returned a {type(result).__name__}; "
                "return an array whose first dimension is the calls, or a list with a result for each"
            )
        if len(result) != calls:
            raise ValueError(
                f"result{where}: {self.name} has returned {len(result)} results for a batch of {calls} calls; "
                "return one for each, in their order"
            )
        return [result[place, ...] for place in range(calls)] if hasattr(result, "shape") else list(result)


def stack(items: Sequence[Any]) -> Any:
    """Items that are alike, as one with a dimension more, the first: arrays, or lists, tuples or dicts of such."""
    first = items[0]
    if isinstance(first, dict):
        return {key: stack([item[key] for item in items]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(stack(values) for values in zip(*items, strict=True))
    function = stack_of(first)
    assert function is not None
    return function(items)


def stack_of(array: Any) -> Stack | None:
    """What stacks arrays like this one: of NumPy, PyTorch, or a library that speaks the array API."""
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        return None
    namespace = getattr(array, "__array_namespace__", None)
    library = namespace() if namespace else sys.modules.get(type(array).__module__.partition(".")[0])
    found: Stack | None = getattr(library, "stack", None)
    return found


def is_numbers(row: dict[Any, Any]) -> bool:
    return all(getattr(value, "shape", ()) == () for value in row.values())


def number_of(value: Any) -> Any:
    """A row without dimensions is a number."""
    return value.item() if getattr(value, "shape", None) == () else value
