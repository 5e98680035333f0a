"""The model of `samovar demo`: plain scikit-learn, not a word of Samovar, so that every way of calling it runs the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray

# Images [0, TRAINED) train, the others are unseen. Not shuffled: neighbours in the file look alike, and a shuffled split
# flatters (99.0 % instead of 96.9 %).
TRAINED = 899

# scikit-learn checks each input and each parameter at each call. One image that we made ourselves needs neither.
sklearn.set_config(assume_finite=True, skip_parameter_validation=True)


@dataclass(frozen=True)
class Digits:
    pixels: NDArray[np.uint8]  # (1797, 64), each 0..16
    labels: NDArray[np.uint8]  # (1797,), each 0..9


def load() -> Digits:
    from sklearn.datasets import load_digits  # here, since it takes long and who unpickles a model does not need it

    pixels, labels = load_digits(return_X_y=True)
    return Digits(pixels.astype(np.uint8), labels.astype(np.uint8))


def train(digits: Digits) -> Any:
    from sklearn.svm import SVC

    return SVC(gamma=0.001).fit(digits.pixels[:TRAINED], digits.labels[:TRAINED])


def classify(model: Any, image: memoryview | bytes) -> int:
    """The digit that 64 pixels show, as scikit-learn says."""
    return int(model.predict(np.frombuffer(image, np.uint8).reshape(1, 64))[0])


class NumpyModel:
    """The same support vectors and answers without scikit-learn's way to them, which is most of its time for one image."""

    def __init__(self, model: Any) -> None:
        self.vectors = model.support_vectors_
        self.squares = (self.vectors**2).sum(axis=1)
        self.gamma = model.gamma
        self.offsets = model.intercept_
        # One classifier for each pair of digits, a row for each; the support vectors lie grouped by digit.
        ends = np.cumsum(model.n_support_)
        group = [slice(end - size, end) for end, size in zip(ends, model.n_support_, strict=True)]
        pairs = [(i, j) for i in range(10) for j in range(i + 1, 10)]
        self.first, self.second = (np.array(side) for side in zip(*pairs, strict=True))
        self.weights = np.zeros((len(pairs), len(self.vectors)))
        for row, (i, j) in zip(self.weights, pairs, strict=True):
            row[group[i]] = model.dual_coef_[j - 1, group[i]]
            row[group[j]] = model.dual_coef_[i, group[j]]

    def classify(self, image: memoryview | bytes) -> int:
        x = np.frombuffer(image, np.uint8).astype(float)
        kernel = np.exp(self.gamma * (2 * (self.vectors @ x) - self.squares - x @ x))
        votes = np.where(self.weights @ kernel + self.offsets > 0, self.first, self.second)
        return int(np.bincount(votes, minlength=10).argmax())
