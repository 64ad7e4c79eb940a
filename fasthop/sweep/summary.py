"""What an experiment makes of its rows: a table and a picture beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.sweep.columns import parquet_bytes
from fasthop.sweep.read import experiment_of, read
from fasthop.sweep.spec import Registry
from fasthop.sweep.store import replacing


def forget(folder: Path, experiment: Experiment) -> None:
    """Remove both: they would not be those of the rows any more."""
    for path in _paths(folder, experiment):
        path.unlink(missing_ok=True)


def refresh(folder: Path, experiment: Experiment) -> None:
    """Write both where one of them lacks."""
    table, picture = _paths(folder, experiment)
    if table.exists() and picture.exists():
        return
    summary = experiment.summarise(read(folder))
    with replacing(folder, table) as partial:
        partial.write_bytes(parquet_bytes(pa.Table.from_pandas(summary, preserve_index=False)))
    _draw(folder, experiment, summary)


def plot(folder: str | Path, registry: Registry | None = None) -> Path:
    """Draw what a folder holds of its sweep by now; return the path of the PNG. Errors as in `read`."""
    folder = Path(folder)
    summary = read(folder, summary=True, registry=registry)
    return _draw(folder, experiment_of(folder, registry), summary)


def _paths(folder: Path, experiment: Experiment) -> tuple[Path, Path]:
    return folder / "summary.parquet", folder / f"{experiment.name}.png"


def _draw(folder: Path, experiment: Experiment, summary: pd.DataFrame) -> Path:
    path = _paths(folder, experiment)[1]
    with replacing(folder, path) as partial:
        experiment.plot(summary, partial)
    return path
