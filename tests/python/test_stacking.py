"""Methods with batch="stack": what their function is given, and what becomes of what it returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import samovar
from samovar import methods
from samovar.stacking import Stacked


def called(function: Any, *items: Any) -> list[Any]:
    return Stacked(function, "score")(list(items))


def test_arrays_that_are_alike_are_one_array() -> None:
    given = []

    def score(images: Any) -> Any:
        given.append(images)
        return images.sum(axis=1)

    assert called(score, *(np.full(3, number, np.float32) for number in range(4))) == [0.0, 3.0, 6.0, 9.0]
    (images,) = given
    assert images.shape == (4, 3)
    assert images.dtype == np.float32
    assert images.flags.writeable


def test_others_are_taken_apart_and_keep_their_places() -> None:
    shapes = []

    def score(arrays: Any) -> Any:
        shapes.append((arrays.shape, str(arrays.dtype)))
        return arrays.reshape(len(arrays), -1).max(axis=1)

    items = [np.array([1, 2]), np.array([3, 4, 5]), np.array([6, 7]), np.array([8.0, 9.0])]
    assert called(score, *items) == [2, 5, 7, 9.0]
    assert shapes == [((2, 2), "int64"), ((1, 3), "int64"), ((1, 2), "float64")]


def test_what_is_no_array_fails_alone() -> None:
    results = called(lambda arrays: arrays + 1, np.array([1]), 5, [np.array([2]), "x"], np.array([3]))
    assert [int(results[0][0]), int(results[3][0])] == [2, 4]
    for error in results[1:3]:
        assert isinstance(error, TypeError)
        assert "score stacks what its calls are given, so it takes tensors" in str(error)


def test_named_and_several_tensors_are_stacked_each_for_itself() -> None:
    named = [{"ids": np.arange(3) + n, "mask": np.ones(3)} for n in range(2)]
    first, second = called(lambda given: given["ids"] * given["mask"], *named)
    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [1, 2, 3]
    several = [[np.arange(3), np.array(1)], [np.arange(3), np.array(2)]]
    assert called(lambda given: given[0].sum(axis=1) - given[1], *several) == [2, 1]


def test_dict_of_arrays_is_a_dict_of_rows_for_each_call() -> None:
    items = [np.array([1.0, 2.0]), np.array([3.0, 5.0])]
    numbers = called(lambda x: {"low": x.min(axis=1), "high": x.max(axis=1)}, *items)
    assert numbers == [{"low": 1.0, "high": 2.0}, {"low": 3.0, "high": 5.0}]
    assert all(type(value) is float for row in numbers for value in row.values())
    rows = called(lambda x: {"twice": x * 2, "sum": x.sum(axis=1)}, *items)
    assert rows[1]["twice"].tolist() == [6.0, 10.0]
    assert isinstance(rows[1]["sum"], np.ndarray), "named tensors go back as tensors, all of them"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[:-1], "score has returned 1 results for a batch of 2 calls"),
        (lambda x: x.sum(), "was given 2 calls at once and has returned a float64"),
        (lambda x: np.array(1.0), "was given 2 calls at once and has returned a ndarray"),
        (lambda x: "ab", "has returned a str"),
        (lambda x: None, "has returned a NoneType"),
        (lambda x: {"a": x, "b": x[:-1]}, r"result\['b'\]: score has returned 1 results"),
        (lambda x: 1 / 0, "division by zero"),
    ],
)
def test_what_is_wrong_with_all_fails_each(function: Any, message: str) -> None:
    results = called(function, np.ones(2), np.ones(2))
    for error in results:
        with pytest.raises(Exception, match=message):
            raise error


def test_failure_of_one_shape_leaves_the_others() -> None:
    def picky(x: Any) -> Any:
        if x.shape[1] == 2:
            raise ValueError("two are too few")
        return x.sum(axis=1)

    results = called(picky, np.ones(2), np.ones(3))
    assert str(results[0]) == "two are too few"
    assert results[1] == 3.0


def test_methods_and_classes_are_stacked_for_the_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = methods.Registry()
    monkeypatch.setattr(methods, "registry", registry)

    @samovar.method(batch="stack", max_batch=4)
    def total(x: Any, *, ctx: Any) -> Any:
        return x.sum(axis=1) + ctx

    @samovar.method(batch="stack")
    class Scaled:
        def setup(self) -> None:
            self.factor = 3

        def handle_batch(self, x: Any) -> Any:
            return x * self.factor

    for hook in registry.preload:
        hook()
    first, second = registry.methods
    assert total(np.ones((1, 2)), ctx=1).tolist() == [3.0], "a plain function for unit tests"
    assert first.function([np.ones(2), np.ones(2)], ctx=1) == [3.0, 3.0]
    assert (first.batch_max, first.wants_ctx) == (4, True)
    assert [row.tolist() for row in second.function([np.ones(1), np.ones(1)])] == [[3.0], [3.0]]
    assert methods.place_of(first.function).startswith("test_methods_and_classes")
