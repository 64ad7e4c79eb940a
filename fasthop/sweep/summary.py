"""What an experiment makes of its rows: a table and a picture beside them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.files import read_file
from fasthop.sweep.columns import parquet_bytes
from fasthop.sweep.errors import FolderError
from fasthop.sweep.read import experiment_of, read, summarised
from fasthop.sweep.spec import Registry
from fasthop.sweep.store import Store, named, put, table_files

#: The entry of a manifest's digests that names the rows which the others were made of.
_ROWS = "rows"


def forget(folder: Path, experiment: Experiment) -> None:
    """Remove both: they would not be those of the rows any more."""
    for name in _names(experiment):
        with contextlib.suppress(OSError):  # nothing, or what is no file
            (folder / name).unlink()


def refresh(folder: Path, experiment: Experiment, store: Store) -> list[str]:
    """Make both of the rows that are there, where they are not what was made of them; say what could not be made.

    The rows are what a sweep is for: where an experiment can make nothing of them, they are none the less all there.
    """
    rows = _rows(folder)
    names = _names(experiment)
    if store.derived == {_ROWS: rows, **{name: _digest(folder / name) for name in names}}:
        return []
    forget(folder, experiment)
    made: dict[str, str] = {}
    notes: list[str] = []
    summary = functools.cache(lambda: summarised(folder, experiment))

    def make(name: str, content: Callable[[], bytes | memoryview]) -> None:
        try:
            data = content()
            put(folder, name, data)
        except (MemoryError, FolderError):
            raise
        except Exception as error:
            notes.append(f"{folder / name} could not be made: {type(error).__name__}: {error}")
        else:
            made[name] = hashlib.sha256(data).hexdigest()

    table, picture = names
    make(table, lambda: _table(summary()))
    if made:
        make(picture, lambda: _picture(experiment, summary()))
    store.derived = {_ROWS: rows, **made}
    return notes


def damaged(folder: Path, experiment: Experiment, derived: dict[str, str]) -> list[str]:
    """Say which of both are not what was made of the rows that are there."""
    if derived.get(_ROWS) != _rows(folder):
        return []  # they were made before the last rows came, and are made anew
    names = [name for name in _names(experiment) if name in derived and _digest(folder / name) != derived[name]]
    return [f"{folder / name} is not what was made of the rows: run again to make it anew." for name in names]


def plot(folder: str | Path, registry: Registry | None = None) -> Path:
    """Draw what a folder holds of its sweep by now; return the path of the PNG.

    Raises
    ------
    FolderError
        As `read`, and where there is nothing to draw.
    """
    folder = named(folder)
    experiment = experiment_of(folder, registry)
    summary, name = read(folder, summary=True, registry=registry), _names(experiment)[1]
    try:
        data = _picture(experiment, summary)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise FolderError(f"{folder / name} cannot be drawn: {type(error).__name__}: {error}") from error
    put(folder, name, data)
    return folder / name


def _names(experiment: Experiment) -> tuple[str, str]:
    return "summary.parquet", f"{experiment.name}.png"


def _table(summary: pd.DataFrame) -> memoryview:
    return parquet_bytes(pa.Table.from_pandas(summary, preserve_index=False))


def _picture(experiment: Experiment, summary: pd.DataFrame) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / _names(experiment)[1]
        experiment.plot(summary, path)
        return read_file(path)


def _rows(folder: Path) -> str:
    """Name the rows that are there, by the names of their files, which name their content."""
    return hashlib.sha256("\n".join(path.name for path in table_files(folder)).encode()).hexdigest()


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except OSError:
        return None
