"""`grow_forest.py FILE` grows the random forest of `samovar bench start`, some 50 MB, and saves it."""

import pickle
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestRegressor

SAMPLES = 30_000
FEATURES = 8
TREES = 18  # of noise: each grows until it has a leaf for about every second sample

numbers = np.random.default_rng(7)
samples = numbers.random((SAMPLES, FEATURES), dtype=np.float32)
forest = RandomForestRegressor(n_estimators=TREES, max_features=1, random_state=7)
forest.fit(samples, numbers.random(SAMPLES))
Path(sys.argv[1]).write_bytes(pickle.dumps(forest, protocol=5))
