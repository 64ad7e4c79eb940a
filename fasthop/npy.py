"""Arrays of `.npy` and `.npz` files, whose headers are believed as far as the rest of the file bears them out."""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import warnings
import zipfile
from collections.abc import Sequence

import numpy as np

#: Characters that a header may have, and axes that it may name.
MOST_HEADER = 10_000
MOST_AXES = 32

#: Bytes in which the two versions of the format that hold plain numbers spell the length of the header.
_WIDTHS = {b"\x01\x00": 2, b"\x02\x00": 4}

_KIND = re.compile(r"[<>|=]?([biufU])\d+", re.ASCII)


def array_of(data: bytes, kinds: str = "biuf") -> np.ndarray:
    """Return the array of a `.npy` file, read-only: what is in the memory is the file, whatever its header says.

    Parameters
    ----------
    data : bytes
        The content of the file.
    kinds : str
        Of NumPy: b, i, u, f are numbers, U is text.

    Raises
    ------
    ValueError
        Where it is anything else; the reason is a sentence without subject and stop.
    """
    if not data:
        raise ValueError("it is empty")
    width = _WIDTHS.get(data[6:8])
    if data[:6] != b"\x93NUMPY" or width is None:
        raise ValueError("it is no .npy file of version 1 or 2")
    begin = 8 + width
    end = begin + int.from_bytes(data[8:begin], "little")
    if end > min(len(data), begin + MOST_HEADER):
        raise ValueError(f"its header goes beyond the end of the file or has more than {MOST_HEADER} characters")
    dtype, fortran, shape = _header(data[begin:end].decode("latin-1"), kinds)
    if math.prod(shape) * dtype.itemsize != len(data) - end:
        raise ValueError(f"its header says {_cut(shape)} of {dtype.str}, which {len(data) - end} bytes are not")
    flat = np.frombuffer(data, dtype, math.prod(shape), end) if math.prod(shape) else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def arrays_of(data: bytes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return arrays of a `.npz` file by their names, as `array_of` does; they may be text, and none is compressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = [file.getinfo(f"{name}.npy") for name in names]
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("it is compressed, and must not be")
            return {name: array_of(file.read(member), "biufU") for name, member in zip(names, members, strict=True)}
    except (EOFError, KeyError, NotImplementedError, OSError, RuntimeError, struct.error, zipfile.BadZipFile):
        raise ValueError("it is no .npz file with " + ", ".join(names)) from None


def _header(text: str, kinds: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of a syntax that no header has
            header = ast.literal_eval(text.strip())
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        header = None
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is not that of a .npy file")
    descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if descr == "|O":
        raise ValueError("it holds Python objects, as rows of unequal length do, and must hold real numbers")
    kind = _KIND.fullmatch(descr) if isinstance(descr, str) else None
    try:
        dtype = np.dtype(descr) if kind is not None and kind[1] in kinds else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or not dtype.itemsize:
        raise ValueError(f"it holds {_cut(descr)} and must hold real numbers")
    sizes = shape if isinstance(shape, tuple) and len(shape) <= MOST_AXES else (None,)
    if not all(type(size) is int and 0 <= size < 2**31 for size in sizes) or type(fortran) is not bool:
        raise ValueError(f"its header says {_cut(shape)}, which is no shape of an array")
    return dtype, fortran, shape


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
