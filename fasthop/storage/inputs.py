"""Patterns and weights of a user's own, from files."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fasthop import checks
from fasthop.files import read_file
from fasthop.npy import array_of

#: Grey, of 0 … 255, from which on a pixel of an image is +1.
GREY = 128

#: Entries of patterns at most, and pixels of an image: a file of a few bytes may say that it has any number.
MOST_VALUES = 2**28
MOST_PIXELS = 2**24

#: Rows of a Parquet file that are read together.
_BATCH = 1024

#: Images that a folder is searched for, and what may be in them: no other decoder is asked.
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF")

#: Modes of Pillow in which grey is 0 … 255.
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")

#: What `named` returns: a path, and what was there.
_NAME = re.compile(r"(.*)#([0-9a-f]{16})", re.ASCII | re.DOTALL)


def load_patterns(path: str | Path) -> np.ndarray:
    """Return the patterns of a file or of a folder of images.

    Parameters
    ----------
    path : path
        A `.npy` file of shape (P, N), or (P, …) for patterns that are images; a `.parquet` file with a row for each
        pattern and a column for each neuron, or one column of lists; or a folder of images of one size, taken in the
        order of their names. Entries must be ±1, 0 and 1, or booleans, of which 0 and False become −1; a pixel is +1
        where its grey is 128 of 255 or more. An image is one picture without transparent pixels.

    Returns
    -------
    float64 array, shape (P, N)
        Of ±1.

    Raises
    ------
    ValueError
        Where there is no such file, it is empty or damaged, patterns have unequal lengths, or an entry is anything
        else.
    """
    place = _place(path)
    with _readable(place):
        if place.is_dir():
            return _from_images(place)
    readers: dict[str, Callable[[bytes], np.ndarray]] = {".npy": array_of, ".parquet": _from_parquet}
    if place.suffix not in readers:
        raise ValueError(f"{place} must be a .npy or .parquet file or a folder of images.")
    with _readable(place):
        values = readers[place.suffix](read_file(place))
        _refuse_many(values.size)
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(f"{place} must hold patterns, shape (P, N) with P, N ≥ 1; got shape {values.shape}.")
    return _signs(place, values.reshape(len(values), -1))


def load_weights(path: str | Path) -> np.ndarray:
    """Return the weights of a `.npy` file.

    Parameters
    ----------
    path : path

    Returns
    -------
    float64 array, shape (N, N)

    Raises
    ------
    ValueError
        Where there is no such file, or it does not hold a square matrix of finite numbers.
    """
    place = _place(path)
    if place.suffix != ".npy":
        raise ValueError(f"{place} must be a .npy file.")
    with _readable(place):
        values = array_of(read_file(place))
    if values.ndim != 2 or values.shape[0] != values.shape[1] or 0 in values.shape:
        raise ValueError(f"{place} must hold a square matrix, shape (N, N) with N ≥ 1; got shape {values.shape}.")
    return checks.real_array(str(place), values, np.float64)


def named(path: str) -> str:
    """Return `path#digest`, the name of a file or folder and of what it holds now.

    Given such a name, it returns it where the content is the same.

    Raises
    ------
    ValueError
        Where there is no such file, or its content is no longer that of the name.
    """
    match = _NAME.fullmatch(path)
    place = _place(match[1] if match else path)
    with _readable(place):
        now = _digest(place)
    if match and match[2] != now:
        raise ValueError(f"{place} has changed since: its content was {match[2]} and is {now}.")
    return f"{place}#{now}"


@lru_cache(maxsize=8)
def patterns_of(name: str) -> np.ndarray:
    """Return the patterns of a name that `named` made, read-only."""
    return _frozen(load_patterns(named(name).rpartition("#")[0]))


@lru_cache(maxsize=8)
def weights_of(name: str) -> np.ndarray:
    """Return the weights of a name that `named` made, read-only."""
    return _frozen(load_weights(named(name).rpartition("#")[0]))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _place(path: str | Path) -> Path:
    if not str(path):
        raise ValueError("a file or folder must have a name; got an empty text. The current folder is a dot.")
    return Path(path)


def _digest(place: Path) -> str:
    total, folder = hashlib.sha256(), place.is_dir()
    for file in _images(place) if folder else [place]:
        total.update(file.name.encode() if folder else b"")
        total.update(hashlib.sha256(read_file(file)).digest())
    return total.hexdigest()[:16]


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    """Say of a file or folder, in one sentence, why it cannot be read."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        where = error.filename or place
        raise ValueError(f"{where} cannot be read: {_reason(error.strerror or error)}.") from None
    except MemoryError:
        raise ValueError(f"{place} cannot be read: it does not fit into the memory.") from None
    except (ValueError, pa.ArrowException) as error:
        raise ValueError(f"{place} cannot be read: {_reason(error)}.") from None


def _reason(error: Any) -> str:
    return (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")


def _from_parquet(data: bytes) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data)) as file:
        schema = file.schema_arrow
        of_lists = len(schema) == 1 and _is_list(schema.types[0])
        for field in schema:
            kind = field.type.value_type if of_lists else field.type
            if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise ValueError(f"column {field.name!r} holds {field.type} and must hold real numbers")
        batches, entries = [], 0
        for batch in file.iter_batches(_BATCH):  # what the file says of its size, pyarrow would believe, or abort
            entries += len(batch.column(0).flatten()) if of_lists else batch.num_rows * batch.num_columns
            _refuse_many(entries)
            batches.append(batch)
    table = pa.Table.from_batches(batches, schema)
    nulls = [name for name, column in zip(table.column_names, table.columns, strict=True) if column.null_count]
    if nulls:
        raise ValueError(f"column {nulls[0]!r} has nulls")
    if not table.num_columns:
        return np.empty((0, 0))
    columns = [column.to_numpy() for column in table.columns]
    return _rows_of(columns[0]) if of_lists else np.stack(columns, axis=1)


def _refuse_many(entries: int) -> None:
    if entries > MOST_VALUES:
        raise ValueError(f"it holds {entries} entries or more, and may hold {MOST_VALUES}")


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _rows_of(lists: np.ndarray) -> np.ndarray:
    """Return the array of which these are the rows."""
    lengths = np.array([len(each) for each in lists])
    if (lengths != lengths[:1]).any():
        row = int(np.flatnonzero(lengths != lengths[0])[0])
        raise ValueError(f"pattern 0 has {lengths[0]} entries and pattern {row} has {lengths[row]}, not one length")
    return np.array(lists.tolist())


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGES)


def _from_images(folder: Path) -> np.ndarray:
    files, rows, size = _images(folder), [], None
    for file in files:
        grey = _grey(file)
        size = size or grey.shape
        if grey.shape != size:
            shapes = [f"{w} × {h}" for h, w in (size, grey.shape)]
            raise ValueError(f"{files[0].name} has {shapes[0]} pixels, {file.name} {shapes[1]}, not one size")
        _refuse_many(grey.size * len(files))
        rows.append(grey.reshape(-1) >= GREY)
    if not rows:
        raise ValueError(f"it must hold images, {', '.join(_IMAGES)}, and has none")
    return np.where(np.array(rows), 1.0, -1.0)


def _grey(file: Path) -> np.ndarray:
    """Return the picture of an image, 0 … 255, uint8 of shape (height, width)."""
    from PIL import Image

    data = read_file(file)
    try:
        # Pillow warns of what is odd, which is taken or refused all the same.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            problem = _problem(image)
            grey = np.empty((0, 0)) if problem else np.asarray(image.convert("L"))
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        problem = _TOO_LARGE
    except Exception:  # a decoder may meet anything in a damaged file
        problem = "is no image that can be read"
    if problem:
        raise ValueError(f"{file.name} {problem}")
    return grey


_TOO_LARGE = f"has more than {MOST_PIXELS} pixels, the most that an image may have"


def _problem(image: Any) -> str:
    """Say what is wrong with an image, of which only the head has been decoded."""
    if image.width * image.height > MOST_PIXELS:
        return _TOO_LARGE
    if getattr(image, "is_animated", False):
        return "has several pictures, and must have one"
    if image.mode not in _EIGHT_BITS:
        return "has more than 8 bits for a colour, and may have 8"
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        return "has transparent pixels, whose grey is unknown: put it on a background"
    return ""


def _signs(place: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{place} must hold numbers; got {values.dtype}.")
    low = 0 if values.dtype.kind == "b" or (values == 0).any() else -1
    wrong = (values != low) & (values != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{place} must hold ±1, or 0 and 1; pattern {row} has {values[row, column]:g} at {column}.")
    return np.where(values == 1, 1.0, -1.0)
