"""What happens to files behind fasthop's back."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fasthop.sweep import store
from fasthop.sweep.columns import parquet_bytes


def alter(path, column, change):
    """Change a column of a file behind fasthop's back, but with a name that fits; return the new path."""
    rows = pq.ParquetFile(path).read()
    place = rows.column_names.index(column)
    values = pa.array(change(rows[column].to_pylist()), rows.schema.field(column).type)
    data = parquet_bytes(rows.set_column(place, rows.schema.field(column), values))
    path.unlink()
    first, last = path.name.split("-")[1:3]
    new = path.with_name(store.file_name(int(first), int(last), data))
    new.write_bytes(data)
    return new


def alter_manifest(folder, change):
    """Change the manifest of a folder behind fasthop's back, but with a digest that fits."""
    path = Path(folder) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["digest"]
    change(manifest)
    path.write_bytes(store._signed(b"{\n" + store._spelled(manifest)))
