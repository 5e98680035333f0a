"""Finding the user's module by name or path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from samovar import loading


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_file_is_loaded_under_its_stem_with_its_directory_importable(tmp_path: Path) -> None:
    (tmp_path / "samovar_test_beside.py").write_text("x = 5\n")
    path = tmp_path / "samovar_test_models.py"
    path.write_text("import samovar_test_beside\nx = samovar_test_beside.x\nname = __name__\n")

    module = loading.load(str(path))

    assert (module.x, module.name) == (5, "samovar_test_models")
    assert sys.modules["samovar_test_models"] is module
    assert sys.path[0] == str(tmp_path)


def test_relative_file_is_found_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samovar_test_models.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)

    assert loading.load("samovar_test_models.py").x == 1


def test_name_with_dashes_is_fine_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "samovar-test-models.py"
    path.write_text("x = 1\n")

    assert loading.load(str(path)).x == 1


def test_dotted_name_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samovar_test_package").mkdir()
    (tmp_path / "samovar_test_package" / "models.py").write_text("x = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert loading.load("samovar_test_package.models").x == 2


def test_file_that_does_not_exist_says_where_it_was_looked_for() -> None:
    with pytest.raises(FileNotFoundError, match=r"nosuch\.py does not exist \(looked in "):
        loading.load("nosuch.py")


def test_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a file"):
        loading.load(str(tmp_path))


def test_file_that_would_shadow_a_loaded_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "enum.py"
    path.write_text("")

    with pytest.raises(ImportError, match="rename the file"):
        loading.load(str(path))


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text("")

    with pytest.raises(ImportError, match=r"must end in \.py"):
        loading.load(str(path))


@pytest.mark.parametrize("error", ["1/0", "raise SystemExit(2)", "raise KeyboardInterrupt"])
def test_module_that_raises_is_not_left_behind(tmp_path: Path, error: str) -> None:
    path = tmp_path / "samovar_test_models.py"
    path.write_text(error)

    with pytest.raises((ZeroDivisionError, SystemExit, KeyboardInterrupt)):
        loading.load(str(path))
    assert "samovar_test_models" not in sys.modules
