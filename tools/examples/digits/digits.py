"""The worker of `samovar demo`: trains a classifier of handwritten digits once, keeps it, and answers C++."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import Any

import digits_model
import joblib
import samovar
import sklearn

digits: digits_model.Digits
model: Any
numpy_model: digits_model.NumpyModel
trained_ms: float


@samovar.preload  # once, before the first call
def train() -> None:
    global digits, model, numpy_model, trained_ms
    digits = digits_model.load()
    begin = time.monotonic()
    model = digits_model.train(digits)
    trained_ms = (time.monotonic() - begin) * 1e3
    numpy_model = digits_model.NumpyModel(model)


@samovar.method
def classify(image: memoryview) -> int:
    return digits_model.classify(model, image)


@samovar.method
def classify_numpy(image: memoryview) -> int:
    return numpy_model.classify(image)


@samovar.method
def nothing(image: memoryview) -> None:
    """What a call costs where Python does nothing."""


@samovar.method
def about() -> dict[str, object]:
    return {
        "python": sys.executable,
        "versions": f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}",
        "model": str(model),
        "support_vectors": len(model.support_vectors_),
        "images": len(digits.labels),
        "trained": digits_model.TRAINED,
        "trained_ms": trained_ms,
    }


@samovar.method
def images(first: int, count: int) -> bytes:
    return digits.pixels[first : first + count].tobytes()


@samovar.method
def labels(first: int, count: int) -> bytes:
    return digits.labels[first : first + count].tobytes()


@samovar.method
def save(path: str) -> None:
    """Writes the trained model to a file, for those who call it in other ways."""
    joblib.dump(model, path)


@samovar.method
def pid() -> int:
    return os.getpid()
