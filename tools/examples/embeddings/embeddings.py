"""The worker of `samovar demo embeddings`: keeps a sentence-embedding model, and answers C++ with arrays."""

from __future__ import annotations

import platform

import samovar
from embedding_model import DIMENSIONS, NAME, RUNTIME, EmbeddingModel, Rows

model: EmbeddingModel


@samovar.preload  # once, in the process that workers are forked from: they share its memory
def load() -> None:
    global model
    model = EmbeddingModel()
    model.embed(["The first run allocates."])


@samovar.method
def embed(texts: list[str]) -> Rows:
    """(n, DIMENSIONS): a row of length 1 for each text. C++ gets it as a tensor."""
    return model.embed(texts)


@samovar.method
def about() -> dict[str, object]:
    return {
        "model": NAME,
        "dimensions": DIMENSIONS,
        "versions": f"Python {platform.python_version()}, {RUNTIME}",
    }
