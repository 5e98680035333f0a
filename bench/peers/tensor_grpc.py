"""8 MiB by gRPC over a Unix socket: a unary call whose request and response are bytes, without a message around them.

gRPC takes bytes only, so an array is copied once more on its way out; what comes in is viewed in place. A protobuf message
with a field of bytes would add two copies.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rounds import settle_worker, worker_cpu
from tensor_rounds import answer, serve_rounds

try:
    import grpc
except ImportError as error:
    print(f"{error} (grpcio is in .venv: make setup)", flush=True)
    sys.exit(1)

METHOD = "/samovar.Bench/Answer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]  # 4 MiB by default


def answer_bytes(request: bytes, _context: grpc.ServicerContext) -> bytes:
    return answer(np.frombuffer(request, np.float32)).tobytes()


class Handlers(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(answer_bytes) if details.method == METHOD else None


def work(address: str, cpu: int) -> None:
    settle_worker(cpu)  # before the server, so that its threads are pinned, too
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handlers()], options=UNLIMITED)
    server.add_insecure_port(address)
    server.start()
    sys.stdin.read()  # until the client closes it
    server.stop(None).wait()


def main() -> None:
    if len(sys.argv) == 3:
        work(sys.argv[2], worker_cpu())
        return
    with tempfile.TemporaryDirectory(prefix="samovar-bench-") as directory:
        address = f"unix:{directory}/grpc"
        command = [sys.executable, __file__, str(worker_cpu()), address]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            with grpc.insecure_channel(address, options=UNLIMITED) as channel:
                grpc.channel_ready_future(channel).result(30)
                method = channel.unary_unary(METHOD)
                serve_rounds(lambda argument: np.frombuffer(method(argument.tobytes()), np.float32))
        finally:
            try:
                worker.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                worker.kill()


if __name__ == "__main__":
    main()
