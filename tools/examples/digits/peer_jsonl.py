"""The same model behind JSON lines over stdin and stdout: one process that stays. peer_jsonl.py MODEL"""

from __future__ import annotations

import json
import sys
import time

import digits_model
import joblib

model = joblib.load(sys.argv[1])
for line in sys.stdin:
    image = bytes(json.loads(line)["image"])
    begin = time.monotonic_ns()
    digit = digits_model.classify(model, image)
    service_ns = time.monotonic_ns() - begin
    sys.stdout.write(json.dumps({"digit": digit, "service_ns": service_ns}) + "\n")
    sys.stdout.flush()
