"""What tests of tensors call. What a handler keeps lies in `held`, until `forget`."""

from __future__ import annotations

import array
import ctypes
import gc
import threading
import weakref

import samovar
from methods import wait_at

try:
    import numpy as np
except ImportError:  # tensors_without_numpy.py
    np = None  # type: ignore[assignment]

held: list[object] = []
gate = ""


def described(tensor):
    return [str(tensor.dtype), list(tensor.shape), type(tensor).__name__]


# --- arguments ----------------------------------------------------------------------------------------------------------


@samovar.method
def describe(data):
    if isinstance(data, dict):
        return {name: described(tensor) for name, tensor in data.items()}
    if isinstance(data, list):
        return [described(tensor) for tensor in data]
    return described(data)


@samovar.method
def copy(data):
    return data.copy()


@samovar.method
def total(data):
    if isinstance(data, dict):
        return sum(float(tensor.sum()) for tensor in data.values())
    return float(data.sum())


@samovar.method
def is_right(data):
    """Read-only, aligned, contiguous, and of the machine's byte order."""
    return [
        not data.flags.writeable,
        data.ctypes.data % 64 == 0,
        data.flags.c_contiguous and data.flags.aligned,
        data.dtype.isnative,
        not data.flags.owndata,
    ]


@samovar.method
def write_into(data):
    data[0] = 1


@samovar.method
def add_one(data):
    return data + 1


@samovar.method
def strided(data):
    return data[::2]


@samovar.method
def doubled_in_place(data, *, ctx):
    out = ctx.empty(data.shape, data.dtype)
    np.add(data, data, out=out)
    return out


@samovar.method(tensors=None)
def raw(data):
    view = memoryview(data)
    return [type(data).__name__, data.dtype, list(data.shape), data.readonly, view.format, view.nbytes, data.nbytes]


@samovar.method(tensors=None)
def raw_echo(data):
    return data


def shape_and_sum(tensor):
    return (tensor.shape, sum(memoryview(tensor).cast("B")))


@samovar.method(tensors=shape_and_sum)
def made(data):
    return [list(data[0]), data[1]]


def refuse(tensor):
    held.append(tensor)
    raise ValueError("not this tensor")


@samovar.method(tensors=refuse)
def refused(data):
    return None


@samovar.method(tensors=None)
def dlpack(data):
    """What consumers of all ages get."""

    def refused(**options):
        try:
            data.__dlpack__(**options)
        except BufferError as error:
            return str(error)

    class Old:  # as torch before 2.7 asks
        def __dlpack__(self, **_):
            return data.__dlpack__()

        def __dlpack_device__(self):
            return data.__dlpack_device__()

    class New:
        def __dlpack__(self, **_):
            return data.__dlpack__(max_version=(1, 1))

        def __dlpack_device__(self):
            return data.__dlpack_device__()

    old, new = np.from_dlpack(Old()), np.from_dlpack(New())
    in_place = np.asarray(data)
    return {
        "old": [
            repr(data.__dlpack__()).split('"')[1],
            old.ctypes.data == in_place.ctypes.data,
            bool((old == in_place).all()),
        ],
        "new": [
            repr(data.__dlpack__(max_version=(1, 0))).split('"')[1],
            new.ctypes.data == in_place.ctypes.data,
            new.flags.writeable,
            bool((new == in_place).all()),
        ],
        "old_without_copy": refused(copy=False),
        "on_a_gpu": refused(dl_device=(2, 0)),
        "with_a_stream": refused(stream=1),
        "copied": np.from_dlpack(data, copy=True).ctypes.data == in_place.ctypes.data,
    }


# --- results ------------------------------------------------------------------------------------------------------------


@samovar.method
def filled(n, value, *, ctx):
    out = ctx.empty((n,), "float32")
    out[:] = value
    return out


@samovar.method
def made_in_place(n, what, *, ctx):
    """What can be returned of an array of ctx.empty(): n rows of 4 float64."""
    out = ctx.empty((n, 4), np.float64)
    out[:] = np.arange(n * 4).reshape(n, 4)
    return {
        "all": lambda: out,
        "part": lambda: out[2:5],
        "row": lambda: out[3],
        "reshaped": lambda: out.reshape(-1),
        "as_bytes": lambda: out.view(np.uint8)[:, 1:9],
        "misaligned": lambda: out.view(np.uint8).reshape(-1)[4:],
        "transposed": lambda: out.T,
        "named": lambda: {"out": out},
        "twice": lambda: [out, out],
        "copy": lambda: out.copy(),
    }[what]()


@samovar.method
def kept_in_place(n, *, ctx):
    out = ctx.empty(n, "int64")
    out[:] = 1
    held.append(out)
    return out


@samovar.method
def made_for_nothing(n, *, ctx):
    ctx.empty(n, "int64")


@samovar.method
def again():
    return held[0]


@samovar.method
def change_held(value):
    held[0][:] = value


@samovar.method
def empty_after_the_end(*, ctx):
    held.append(ctx)


@samovar.method
def use_held_context():
    held[0].empty(3)


@samovar.method
def empty_of(shape, dtype, *, ctx):
    out = ctx.empty(shape, dtype)
    return [str(out.dtype), list(out.shape)]


@samovar.method
def empty_in_a_thread(n, *, ctx):
    made = []
    thread = threading.Thread(target=lambda: made.append(ctx.empty(n, "uint8")))
    thread.start()
    thread.join()
    made[0][:] = 7
    return made[0]


RESULTS = {
    "float": lambda: np.float32([1.5, -2.0]),
    "scalar": lambda: np.array(2.5),
    "nothing": lambda: np.zeros((3, 0, 2), np.int16),
    "fortran": lambda: np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "reversed": lambda: np.arange(6, dtype=np.int8)[::-1],
    "strided": lambda: np.arange(24, dtype=np.uint16).reshape(2, 3, 4)[:, ::2, 1::2],
    "broadcast": lambda: np.broadcast_to(np.float64([1, 2]), (3, 2)),
    "large_strided": lambda: np.arange(200_000, dtype=np.float64).reshape(400, 500)[::2, ::-5],
    "array": lambda: array.array("d", [1, 2, 3]),
    "ctypes": lambda: ((ctypes.c_int32 * 2) * 3)((1, 2), (3, 4), (5, 6)),
    "bytes_array": lambda: np.array([b"ab", b"c"], "S3"),
    "named": lambda: {"a": np.int64([1, 2]), "b": np.array([True, False])},
    "several": lambda: (np.int64([1, 2]), np.float32([3])),
    "one_in_a_list": lambda: [np.int64([4])],
    "memoryview": lambda: memoryview(b"abc"),
    "matrix": lambda: np.arange(4.0).reshape(2, 2).view(np.matrix) if hasattr(np, "matrix") else None,
    # what cannot be sent
    "object": lambda: np.array([1, "a"], object),
    "structured": lambda: np.zeros(2, [("x", "f4"), ("y", "i4")]),
    "big_endian": lambda: np.zeros(2, ">f8"),
    "text": lambda: np.array(["a"]),
    "longdouble": lambda: np.zeros(2, np.longdouble),
    "time": lambda: np.zeros(2, "datetime64[s]"),
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
    "mixed": lambda: {"a": np.zeros(1), "b": 3.5},
    "mixed_list": lambda: [np.zeros(1), "x"],
    "number_key": lambda: {1: np.zeros(1)},
    "empty_key": lambda: {"": np.zeros(1)},
    "long_key": lambda: {"x" * 256: np.zeros(1)},
    "surrogate_key": lambda: {"\ud800": np.zeros(1)},
    "object_inside": lambda: {"a": np.zeros(1), "b": np.array([None])},
    "many": lambda: [np.zeros(1)] * 257,
    "numpy_scalar": lambda: np.float32(1.5),
    "on_a_device": lambda: OnADevice(),
    "dlpack_raises": lambda: Dlpack(lambda **_: raise_(ValueError("no such array"))),
    "dlpack_of_nothing": lambda: Dlpack(lambda **_: 3),
    "dlpack": lambda: Dlpack(np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2].__dlpack__),
    "old_dlpack": lambda: Dlpack(lambda: np.arange(3, dtype=np.int32).__dlpack__()),
}


@samovar.method
def result(name):
    return RESULTS[name]()


def raise_(error):
    raise error


class Dlpack:
    """An object with DLPack and nothing else."""

    def __init__(self, dlpack):
        self.dlpack = dlpack

    def __dlpack__(self, **options):
        return self.dlpack(**options)

    def __dlpack_device__(self):
        return (1, 0)


class OnADevice(Dlpack):
    def __init__(self):
        pass

    def __dlpack_device__(self):
        return (2, 0)


# --- arrays that serve the next call, too --------------------------------------------------------------------------------


def change(data, what):
    """What a handler may do to an array of its own."""
    {
        "nothing": lambda: None,
        "shape": lambda: setattr(data, "shape", (-1, 2)),
        "dtype": lambda: setattr(data, "dtype", np.uint32),
        "strides": lambda: setattr(data, "strides", (0,)),
        "flags": lambda: data.setflags(align=False),
        "weak": lambda: held.append(weakref.ref(data)),
        "base": lambda: held.append(data.base),
        "view": lambda: held.append(memoryview(data)),
    }[what]()


@samovar.method
def place_of(data):
    """Whose array this is, and whether it is as it was sent."""
    return [id(data), str(data.dtype), list(data.shape), float(data.sum(dtype="float64"))]


@samovar.method
def place_of_changed(data):
    place = place_of(data)
    change(data, place_of_changed.what)
    return place


@samovar.method
def filled_and_changed(n, value, *, ctx):
    out = ctx.empty(n, np.float32)
    assert (out.dtype, out.shape, out.flags.writeable, out.strides) == (np.float32, (n,), True, (4,))
    out[:] = value
    change(out, place_of_changed.what)
    return out


@samovar.method
def to_change(what):
    place_of_changed.what = what


# --- views that outlive their calls -------------------------------------------------------------------------------------


@samovar.method
def hold(data):
    held.append(data)


@samovar.method
def hold_part(data):
    held.append(data[1:3])


@samovar.method(tensors=None)
def hold_dlpack(data):
    held.append(np.from_dlpack(data))


@samovar.method
def held_total():
    return float(held[0].sum(dtype="float64"))


@samovar.method
def forget():
    held.clear()
    gc.collect()


@samovar.method
def set_gate(path):
    global gate
    gate = path


@samovar.method
def forget_in_a_thread_behind_gate():
    def wait_and_forget():
        wait_at(gate)
        held.clear()

    threading.Thread(target=wait_and_forget).start()
