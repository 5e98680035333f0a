"""JSON-RPC 2.0, one line a message, over stdin and stdout: what a service does that keeps a Python subprocess."""

from __future__ import annotations

import json
import sys


def noop(payload: str) -> str:
    return payload


METHODS = {"noop": noop}


def main() -> None:
    requests, responses = sys.stdin, sys.stdout
    responses.write("ready\n")
    responses.flush()
    while line := requests.readline():
        request = json.loads(line)
        result = METHODS[request["method"]](*request["params"])
        responses.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")
        responses.flush()


if __name__ == "__main__":
    main()
