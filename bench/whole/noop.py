"""The methods that `samovar bench` calls. `noop` is what every peer runs, too: it returns its argument."""

import os
import platform
import zlib

import samovar


@samovar.method
def noop(payload):
    return payload


@samovar.method
def checksum(payload):
    return zlib.crc32(payload)


@samovar.method
def price(symbol, quantity):
    return 1.0842


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def python_version():
    return platform.python_version()
