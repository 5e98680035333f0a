"""More methods than fit into a Ready message together with their signatures."""

from __future__ import annotations

import samovar


def add(first, second, some_more=("a", "default", "that", "makes", "the", "signature", "long"), *, ctx):
    return first + second


for number in range(1200):
    samovar.method(f"add_{number}")(add)
