"""What of tensors can be seen without a pool; tests/integration/tensor_test.cc looks at the rest."""

from __future__ import annotations

import pytest
import samovar
from samovar import methods


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> methods.Registry:
    fresh = methods.Registry()
    monkeypatch.setattr(methods, "registry", fresh)
    return fresh


def identity(tensor: object) -> object:
    return tensor


def test_arguments_are_numpy_arrays_unless_a_method_says_otherwise(registry: methods.Registry) -> None:
    @samovar.method
    def plain(data: object) -> None: ...

    @samovar.method("called", tensors=identity)
    def made(data: object) -> None: ...

    @samovar.method(tensors=None)
    def raw(data: object) -> None: ...

    assert [(method.name, method.tensors) for method in registry.methods] == [
        ("plain", "numpy"),
        ("called", identity),
        ("raw", None),
    ]


@pytest.mark.parametrize("wrong", ["torch", 3])
def test_what_makes_arguments_is_a_function(wrong: object) -> None:
    with pytest.raises(TypeError, match='tensors is "numpy", None or a function, not'):

        @samovar.method(tensors=wrong)  # type: ignore[call-overload]
        def method(data: object) -> None: ...


def test_a_tensor_is_made_by_the_worker_alone() -> None:
    with pytest.raises(TypeError, match="cannot create"):
        samovar.Tensor()
