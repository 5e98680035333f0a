import sys
from pathlib import Path

import samovar


@samovar.method
def greet(name: str) -> str:
    return f"Hello, {name}!"


@samovar.method
def where() -> list[str]:
    return [sys.executable, sys.implementation.cache_tag, str(Path(samovar.__file__).parent)]
