"""The methods of tensors.py in a worker that has no NumPy."""

from __future__ import annotations

import sys

sys.modules["numpy"] = None  # type: ignore[assignment]

import tensors  # noqa: E402, F401
