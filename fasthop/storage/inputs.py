"""Patterns and weights of a user's own, from files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from fasthop import checks

#: Grey, of 0 … 255, from which on a pixel of an image is +1.
GREY = 128

#: Images that a folder is searched for.
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".tif", ".tiff")


def load_patterns(path: str | Path) -> np.ndarray:
    """Return the patterns of a file or of a folder of images.

    Parameters
    ----------
    path : path
        A `.npy` file of shape (P, N), or (P, …) for patterns that are images; a `.parquet` file with a row for each
        pattern and a column for each neuron, or one column of lists; or a folder of images of one size, taken in the
        order of their names. Entries must be ±1, 0 and 1, or booleans, of which 0 and False become −1; a pixel is +1
        where its grey is 128 of 255 or more.

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
    place = Path(path)
    if place.is_dir():
        return _from_images(place)
    readers: dict[str, Callable[[Path], np.ndarray]] = {".npy": _from_npy, ".parquet": _from_parquet}
    if place.suffix not in readers:
        raise ValueError(f"{place} must be a .npy or .parquet file or a folder of images.")
    values = _read(readers[place.suffix], place)
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
    place = Path(path)
    if place.suffix != ".npy":
        raise ValueError(f"{place} must be a .npy file.")
    values = _read(_from_npy, place)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or 0 in values.shape:
        raise ValueError(f"{place} must hold a square matrix, shape (N, N) with N ≥ 1; got shape {values.shape}.")
    try:
        return checks.real_array(str(place), values, np.float64)
    except TypeError as error:
        raise ValueError(str(error)) from None


def named(path: str) -> str:
    """Return `path#digest`, the name of a file or folder and of what it holds now.

    Given such a name, it returns it where the content is the same.

    Raises
    ------
    ValueError
        Where there is no such file, or its content is no longer that of the name.
    """
    place, mark, digest = path.rpartition("#")
    place = place if mark else path
    try:
        now = _digest(Path(place))
    except OSError as error:
        raise ValueError(f"{place} cannot be read: {error.strerror}.") from None
    if mark and digest != now:
        raise ValueError(f"{place} has changed since: its content was {digest} and is {now}.")
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


def _digest(place: Path) -> str:
    total = hashlib.sha256()
    for file in _images(place) if place.is_dir() else [place]:
        total.update(file.name.encode() if place.is_dir() else b"")
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _read(reader: Callable[[Path], np.ndarray], place: Path) -> np.ndarray:
    import pyarrow as pa

    try:
        return reader(place)
    except OSError as error:
        raise ValueError(f"{place} cannot be read: {error.strerror or error}.") from None
    except (ValueError, EOFError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0].rstrip(".")
        raise ValueError(f"{place} cannot be read: {reason}.") from None


def _from_npy(place: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(place, allow_pickle=False))
    except ValueError as error:
        if "Object arrays" in str(error):
            raise ValueError("it holds Python objects, as rows of unequal length do, and must hold numbers") from None
        raise


def _from_parquet(place: Path) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(place) as file:
        table = file.read()
    nulls = [name for name in table.column_names if table[name].null_count]
    if nulls:
        raise ValueError(f"column {nulls[0]!r} has nulls")
    if not table.num_columns:
        return np.empty((0, 0))
    columns, kind = [column.to_numpy() for column in table.columns], table.schema.types[0]
    of_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return _rows_of(columns[0]) if of_lists and len(columns) == 1 else np.stack(columns, axis=1)


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
    from PIL import Image, UnidentifiedImageError

    files, rows, size = _images(folder), [], None
    for file in files:
        try:
            with Image.open(file) as image:
                size = size or image.size
                if image.size != size:
                    shapes = [f"{w} × {h}" for w, h in (size, image.size)]
                    raise ValueError(
                        f"{folder} must hold images of one size; {files[0].name} has {shapes[0]} pixels, {file.name} "
                        f"{shapes[1]}."
                    )
                rows.append(np.asarray(image.convert("L")).reshape(-1))
        except (UnidentifiedImageError, OSError):
            raise ValueError(f"{file} is no image that can be read.") from None
    if not rows:
        raise ValueError(f"{folder} must hold images, {', '.join(_IMAGES)}; it has none.")
    return np.where(np.array(rows) >= GREY, 1.0, -1.0)


def _signs(place: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{place} must hold numbers; got {values.dtype}.")
    low = 0 if values.dtype.kind == "b" or (values == 0).any() else -1
    wrong = (values != low) & (values != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{place} must hold ±1, or 0 and 1; pattern {row} has {values[row, column]:g} at {column}.")
    return np.where(values == 1, 1.0, -1.0)
