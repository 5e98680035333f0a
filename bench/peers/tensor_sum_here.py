"""No peer, but what a sum over 8 MiB costs at least: one copy and NumPy's sum, in one process."""

from __future__ import annotations

import numpy as np
from tensor_rounds import ELEMENTS, serve_trips

SOURCE = np.ones(ELEMENTS, np.float32)
COPY = np.empty_like(SOURCE)


def trip() -> float:
    np.copyto(COPY, SOURCE)
    return float(COPY.sum())


def check(total: float) -> None:
    if total != ELEMENTS:
        raise RuntimeError(f"a wrong sum: {total}")


if __name__ == "__main__":
    serve_trips(trip, check)
