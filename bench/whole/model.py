"""What `samovar bench start` serves: a random forest of 50 MB and a dict of 50 MB that stay resident.

The forest is grow_forest.py's, in the file that SAMOVAR_BENCH_MODEL names: to grow it is no part of any start.
"""

import os
import pickle
import random
from pathlib import Path

import busy
import numpy as np
import samovar
import sklearn.ensemble  # noqa: F401  (which a service would import at its top, as here)

ENTRIES = 350_000


@samovar.preload
def load():
    global forest, table, samples, model_bytes
    before = resident()
    forest = pickle.loads(Path(os.environ["SAMOVAR_BENCH_MODEL"]).read_bytes())
    table = {f"key {i}": i / 7 for i in range(ENTRIES)}
    samples = np.random.default_rng(8).random((1000, forest.n_features_in_), dtype=np.float32)
    model_bytes = resident() - before


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def size():
    return model_bytes


@samovar.method
def use(times):
    """Predicts and looks up so many times, one at a time as calls would, and says who did."""
    for _ in range(times):
        forest.predict(random.choice(samples).reshape(1, -1))
        table[f"key {random.randrange(ENTRIES)}"]
    return os.getpid()


begin = samovar.method(busy.begin)


def resident():
    """Private memory of this process, as the guard reads it."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGESIZE")
