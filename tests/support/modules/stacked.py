"""Methods whose calls' tensors come as one array."""

import numpy as np
import samovar


@samovar.method(batch="stack", max_batch=8, max_wait="50ms")
def doubled(arrays):
    return arrays * 2


@samovar.method(batch="stack", max_batch=8, max_wait="50ms")
def taken_with(arrays):
    """To each call a number: how many it was taken with."""
    return np.full(len(arrays), len(arrays))


@samovar.method(batch="stack", max_batch=8, max_wait="50ms")
class Scores:
    def setup(self):
        self.weights = np.array([1.0, 10.0], np.float32)

    def handle_batch(self, given):
        scores = given["x"] @ self.weights + given["bias"]
        return {"score": scores, "rank": scores.argsort().argsort()}
