"""The same model in a process for each image: 64 bytes from stdin, the answer to stdout. peer_process.py MODEL"""

from __future__ import annotations

import sys
import time

import digits_model
import joblib

model = joblib.load(sys.argv[1])
image = sys.stdin.buffer.read()
begin = time.monotonic_ns()
digit = digits_model.classify(model, image)
print(digit, time.monotonic_ns() - begin)
