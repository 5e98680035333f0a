"""The examples do what their first lines say. SAMOVAR_EXAMPLE_... name the programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "tools" / "examples"
LIMIT_S = 60


def run(name: str, module: Path, lines: str = "") -> list[str]:
    program = os.environ[f"SAMOVAR_EXAMPLE_{name.upper()}"]
    finished = subprocess.run(
        [program, str(module)], input=lines, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_coroutines_answer_each_line() -> None:
    lines = "".join(f"EURUSD {quantity}\n" for quantity in range(1000, 1100)) + "USDJPY 1\nGBPUSD 1\n"

    answers = run("coroutines", EXAMPLES / "coroutines" / "models.py", lines)

    assert len(answers) == 102
    assert "EURUSD 1000: 1.084199 / 1.084201" in answers
    assert "USDJPY 1: 151.300000 / 151.300000" in answers
    assert "GBPUSD 1: KeyError: 'GBPUSD'" in answers


def test_event_loop_prints_five_prices() -> None:
    assert len(run("event_loop", EXAMPLES / "hello" / "models.py")) == 5
