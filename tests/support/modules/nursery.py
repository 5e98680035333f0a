"""What a nursery shares with its workers, and what hooks do; $SAMOVAR_TEST_NURSERY says what else goes on."""

import atexit
import os
import random
import socket
import sys
import threading
import time

import samovar

plan = os.environ.get("SAMOVAR_TEST_NURSERY", "")
loaded_by = os.getpid()
told = []
left_open = []
never = threading.Event()


@samovar.preload
def load():
    told.append(("preload", os.getpid()))
    if plan == "preload raises":
        raise LookupError("no model here")
    if plan == "preload hangs":
        print("loading for ever", flush=True)
        time.sleep(3600)
    if plan == "preload starts a thread":
        threading.Thread(target=never.wait, name="model-refresher", daemon=True).start()
    if plan == "preload opens a socket":
        left_open.append(socket.socket())
    if plan == "holds":
        left_open.append(os.urandom(64 << 20))
    if plan == "preload allocates":
        left_open.append(b"x" * (1 << 30))
    atexit.register(print, "atexit of what loaded:", os.getpid(), flush=True)


@samovar.before_fork
def before():
    told.append(("before_fork", os.getpid()))
    if plan == "before_fork raises":
        raise RuntimeError("not now")
    if plan == "before_fork hangs":
        time.sleep(3600)
    if plan == "before_fork starts a thread":
        threading.Thread(target=never.wait, name="too-late", daemon=True).start()


@samovar.after_fork
def after():
    told.append(("after_fork", os.getpid()))
    if plan == "after_fork raises":
        raise RuntimeError("no connection")
    atexit.register(print, "atexit of a worker", flush=True)


@samovar.method
def hooks():
    return [[name, pid] for name, pid in told]


@samovar.method
def pids():
    return [os.getpid(), os.getppid(), loaded_by]


@samovar.method
def numbers():
    found = [random.getrandbits(60)]
    if "numpy" in sys.modules:
        found.append(int(sys.modules["numpy"].random.randint(1 << 62)))
    return found


@samovar.method
def descriptors():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))


@samovar.method
def die(status):
    os._exit(status)


@samovar.method
def allocate(size):
    left_open.append(os.urandom(size))


@samovar.method
def name():
    return open("/proc/self/comm").read().strip()


if plan == "numpy":
    import numpy  # noqa: F401
