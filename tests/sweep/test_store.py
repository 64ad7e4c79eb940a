"""The folder of a sweep: what is in its files, and which folders are refused."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasthop
from fasthop.sweep import store
from fasthop.sweep.columns import IDENTITY, make_table, parquet_bytes
from fasthop.sweep.errors import FolderError, TableError
from fasthop.sweep.index import held, index_files
from fasthop.sweep.machine import instruction_set, machine
from fasthop.sweep.pending import Agenda, Result
from fasthop.sweep.plan import KERNEL_VERSION, SCHEMA_VERSION, STREAM_VERSION, plan_tasks
from fasthop.sweep.read import read
from fasthop.sweep.run import run
from fasthop.sweep.spec import spec_from_mapping
from sweep.coins import COINS, REGISTRY, rows, spec

SPEC = spec_from_mapping(spec(weights=[1, 2]), REGISTRY)
TASKS = plan_tasks(SPEC)
CHUNKS = list(Agenda(SPEC, TASKS))


def computed(chunk):
    return rows(chunk.task.parameters, chunk.realisations, SPEC.seed)


def table_of(chunk, columns):
    return make_table(SPEC, chunk.task, chunk.realisations, columns, instruction_set())


def fill(folder, chunks, spec=SPEC):
    with store.open_store(folder, spec, TASKS.names) as opened:
        for chunk in chunks:
            opened.add(Result(chunk, table_of(chunk, computed(chunk)), 0.0, machine()))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- one file -------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    fill(tmp_path / "out", CHUNKS)
    (path,) = store.table_files(tmp_path / "out")
    return path


def test_folder_has_the_promised_layout(file):
    folder = file.parents[1]
    assert file.name.startswith("rows-0000000-0000005-")
    assert names(folder) == ["lock", "manifest.json", "partial", "tables", f"tables/{file.name}"]


def test_file_is_one_row_group_of_zstd_without_nulls(file):
    metadata = pq.read_metadata(file)
    assert (metadata.num_row_groups, metadata.num_rows) == (1, 40)
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert not any(field.nullable for field in pq.read_schema(file))


def test_columns_are_identity_then_those_of_the_experiment(file):
    table = pq.ParquetFile(file).read()
    assert table.column_names == [*IDENTITY.names, *COINS.parameters, *COINS.measured]
    assert table["task_id"].unique().to_pylist() == [task.task_id for task in TASKS]
    assert table["engine_version"].unique().to_pylist() == [fasthop.__version__]
    assert table["seed"].unique().to_pylist() == [7]
    assert table["instruction_set"].unique().to_pylist() == [instruction_set()]


def test_footer_holds_the_whole_spec(file):
    footer = pq.read_schema(file).metadata[b"fasthop"]
    assert spec_from_mapping(json.loads(footer), REGISTRY) == SPEC


def test_same_rows_are_the_same_bytes(file, tmp_path):
    fill(tmp_path / "again", CHUNKS)
    (again,) = store.table_files(tmp_path / "again")
    assert again.name == file.name
    assert again.read_bytes() == file.read_bytes()


def test_other_rows_are_another_name(file, tmp_path):
    fill(tmp_path / "out", [CHUNKS[0], CHUNKS[5]])
    assert len(store.table_files(tmp_path / "out")) == 2


def test_largest_seed_fits(tmp_path):
    run({**spec(), "seed": 2**64 - 1}, tmp_path / "out", registry=REGISTRY)
    assert read(tmp_path / "out", registry=REGISTRY)["seed"].unique().tolist() == [2**64 - 1]


def test_pandas_polars_and_duckdb_read_the_same_numbers(tmp_path):
    import duckdb
    import polars as pl

    fill(tmp_path, CHUNKS[:2])
    fill(tmp_path, CHUNKS[2:])
    tables = tmp_path / "tables"
    expected = [tuple(row) for row in read(tmp_path, registry=REGISTRY).drop(columns="weights").to_numpy().tolist()]
    names_ = [name for name in [*IDENTITY.names, *COINS.schema.names] if name != "weights"]
    by_polars = pl.read_parquet(tables)
    by_duckdb = duckdb.sql(f"select {', '.join(names_)} from '{tables}/*.parquet'").fetchall()
    by_pandas = pd.read_parquet(tables)[names_].to_numpy().tolist()
    assert sorted(by_polars.select(names_).rows()) == sorted(expected)
    assert sorted(by_duckdb) == sorted(expected)
    assert sorted(map(tuple, by_pandas)) == sorted(expected)
    assert by_polars["weights"].to_list() == [[1.0, 2.0]] * 40


def test_a_million_rows_are_read_alike(tmp_path, monkeypatch):
    """In files of usual size, each one row group; a row sums up to the same in every reader."""
    import duckdb
    import polars as pl

    def rows(task, realisations, seed):
        place = np.array(realisations)
        columns = {"realisation": place, "side": ["heads"] * len(place), "count": place * 7 % 1000, "heads": place % 17}
        return columns | {"lost": place * 0, "thrown": place * 0 + 16, "wear": np.sin(place)}

    many = COINS._replace(rows=rows, per_chunk=lambda task: 50_000, measured=COINS.measured | {"wear": float})
    mapping = spec(realisations=500_000)
    monkeypatch.setattr(store, "FLUSH_SECONDS", 1e9)
    run(mapping, tmp_path, registry={"coins": many})
    assert len(store.table_files(tmp_path)) < 20
    frame = read(tmp_path, registry={"coins": many})
    assert len(frame) == 1_000_000
    assert frame["realisation"].tolist() == [*range(500_000)] * 2
    expected = frame["wear"].to_numpy()[:500_000]
    np.testing.assert_array_equal(expected, np.sin(np.arange(500_000)))
    tables, names_ = tmp_path / "tables", ["bias", "realisation", "wear", "count", "seed", "task_id"]
    by_duckdb = duckdb.sql(f"select {', '.join(names_)} from '{tables}/*.parquet'").df()
    by_polars = pl.read_parquet(tables).select(names_)
    by_pandas = pd.read_parquet(tables, columns=names_)
    for other in (by_duckdb, pd.DataFrame({name: by_polars[name].to_numpy() for name in names_}), by_pandas):
        other = other.sort_values(["bias", "realisation"], kind="stable").reset_index(drop=True)
        for name in names_:
            np.testing.assert_array_equal(other[name].to_numpy(), frame[name].to_numpy())


# --- when files are written -----------------------------------------------------------------------------------------


def test_file_is_written_when_enough_rows_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_ROWS", 15)  # a chunk has eight rows, or four
    fill(tmp_path, CHUNKS)
    assert [path.name[:20] for path in store.table_files(tmp_path)] == [
        "rows-0000000-0000001",
        "rows-0000002-0000004",
        "rows-0000005-0000005",
    ]


def test_file_is_written_when_enough_time_has_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    fill(tmp_path, CHUNKS)
    assert len(store.table_files(tmp_path)) == len(CHUNKS)


def test_what_was_added_is_kept_when_the_block_fails(tmp_path):
    def interrupted():
        yield from CHUNKS[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, interrupted())
    there = held(index_files(store.table_files(tmp_path), TASKS.names, COINS, SPEC.seed), len(TASKS))
    assert [there.of(rank)[0].tolist() for rank in range(2)] == [list(range(10)), []]
    (entry,) = store.read_manifest(tmp_path)["runs"]
    assert (entry["chunks"], entry["rows"]) == (3, 20)


def test_interrupt_waits_for_the_file_that_is_written(tmp_path, monkeypatch):
    """Ctrl-C, twice, in the middle of a flush: the file is finished, nothing is written twice, and the run ends."""
    inner, interrupts = store.parquet_bytes, []

    def interrupted(table):
        interrupts.append(signal.raise_signal(signal.SIGINT))
        interrupts.append(signal.raise_signal(signal.SIGINT))
        return inner(table)

    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(store, "parquet_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, CHUNKS)
    assert len(interrupts) == 2
    (path,) = store.table_files(tmp_path)
    assert pq.read_metadata(path).num_rows == 8
    (entry,) = store.read_manifest(tmp_path)["runs"]
    assert (entry["chunks"], entry["rows"], entry["ended"]) == (1, 8, "KeyboardInterrupt")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_that_is_ignored_stays_so(tmp_path, monkeypatch):
    """As under nohup."""
    inner = store.parquet_bytes
    monkeypatch.setattr(store, "parquet_bytes", lambda table: (signal.raise_signal(signal.SIGINT), inner(table))[1])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        fill(tmp_path, CHUNKS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert store.read_manifest(tmp_path)["runs"][0]["ended"] == "done"


def test_left_over_partial_files_are_removed(tmp_path):
    fill(tmp_path, CHUNKS[:1])
    (tmp_path / "partial" / "rows-1.parquet").write_bytes(b"half")
    fill(tmp_path, CHUNKS[1:2])
    assert not list((tmp_path / "partial").iterdir())


def test_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match=re.escape(f"[Errno 28] No space left on device: '{target}'")):
            store.put(tmp_path, "target", b"new, but")
    assert target.read_text() == "old"
    assert not list((tmp_path / "partial").iterdir())
    store.put(tmp_path, "target", b"new")
    assert target.read_text() == "new"


# --- what an experiment may return ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda columns: columns.pop("count"), "coins must return the columns"),
        (lambda columns: columns.update(extra=[0] * 8), r"\['extra'\] are missing or too many"),
        (lambda columns: columns.update(metal=["silver"] * 8), r"\['metal'\] are missing or too many"),
        (lambda columns: columns.update(count=[None] * 8), "8 values of count, none of them null"),
        (lambda columns: columns.update(count=[0] * 7), "8 values of count"),
        (lambda columns: columns.update(count=np.full(8, 0.5)), "must return count as int64: "),
        (lambda columns: columns.update(count=["many"] * 8), "must return count as int64: "),
        (lambda columns: columns.update(side=[1] * 8), "must return side as string: "),
        (lambda columns: columns.update(count=[2**70] * 8), "must return count as int64: "),
        (lambda columns: columns.update(realisation=[0, 0, 1, 1, 2, 2, 2, 2]), r"realisations \[0, 1, 2, 3\], each"),
        (lambda columns: columns.update(realisation=[0, 0, 1, 1, 2, 3, 2, 3]), "and in this order"),
        (lambda columns: columns.update(realisation=[0, 0, 1, 1, 2, 2, 3, 9]), r"realisations \[0, 1, 2, 3\], each"),
    ],
)
def test_other_columns_than_promised_are_no_table(change, sentence):
    columns = computed(CHUNKS[0])
    change(columns)
    with pytest.raises(TableError, match=sentence):
        table_of(CHUNKS[0], columns)


# --- which folders are refused --------------------------------------------------------------------------------------


def refused(folder, mapping=None):
    with pytest.raises(FolderError) as caught:
        run(mapping or spec(), folder, registry=REGISTRY)
    return str(caught.value)


def test_file_in_the_way(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    assert refused(path) == f"{path} cannot hold a sweep: it is a file."
    assert refused(path / "below") == f"{path}/below cannot hold a sweep: Not a directory."
    assert path.read_text() == "mine"


def test_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    assert refused(tmp_path) == f"{tmp_path} is not empty and holds no sweep: it has thesis.tex and no manifest.json."
    assert names(tmp_path) == ["thesis.tex"]


def test_tables_without_a_manifest(tmp_path):
    fill(tmp_path, CHUNKS[:1])
    (tmp_path / "manifest.json").unlink()
    assert "holds no sweep: it has rows-0000000" in refused(tmp_path)


def test_what_a_run_killed_at_its_start_leaves_is_no_obstacle(tmp_path):
    for name in ("tables", "partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "lock").touch()
    assert run(spec(), tmp_path, registry=REGISTRY).chunks == 6


def test_folder_of_another_sweep(tmp_path):
    run(spec(), tmp_path, registry=REGISTRY)
    before = names(tmp_path)
    for mapping, field in [
        ({**spec(), "seed": 8}, "seed is 7 there and 8 here"),
        (spec(bias=[0.2, 0.6]), "coin.bias is [0.2, 0.5] there and [0.2, 0.6] here"),
        (spec(weights=[1]), 'coin.weights is "not given" there and [1.0] here'),
        ({**spec(), "run": {"realisations": 10, "tosses": 8}}, "run.tosses is 16 there and 8 here"),
    ]:
        assert (
            refused(tmp_path, mapping) == f"{tmp_path} holds another sweep: {field}; take another folder for this one."
        )
    assert names(tmp_path) == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1, "stream_version": 1}', "\udcff"])
def test_manifest_that_is_none(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "manifest.json is not a manifest of fasthop" in refused(tmp_path)


def test_sweep_of_another_version(tmp_path, monkeypatch):
    run(spec(), tmp_path, registry=REGISTRY)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "stream_version": 0}))
    there, here = (
        f"schema {SCHEMA_VERSION}, stream {stream}, kernel {KERNEL_VERSION}" for stream in (0, STREAM_VERSION)
    )
    assert f"another version: {there}; this fasthop has {here}" in refused(tmp_path)


def test_damaged_file(tmp_path):
    fill(tmp_path, CHUNKS[:1])
    (path,) = store.table_files(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    assert refused(tmp_path, SPEC.to_mapping()).startswith(f"{path} is not what its name says: it was truncated, ")
    with pytest.raises(FolderError, match=r"is not what its name says.*; move it away and run again to compute"):
        read(tmp_path, registry=REGISTRY)


def test_file_of_another_origin(tmp_path):
    fill(tmp_path, CHUNKS[:1])
    data = parquet_bytes(pa.table({"task_id": ["x"], "realisation": [1]}))
    strange = tmp_path / "tables" / store.file_name(0, 0, data)
    strange.write_bytes(data)
    assert f"{strange} has other columns than this sweep" in refused(tmp_path, SPEC.to_mapping())
    with pytest.raises(FolderError, match="has other columns"):
        read(tmp_path, registry=REGISTRY)
    strange.unlink()
    strange.with_name("strange.parquet").write_bytes(data)
    assert "strange.parquet is not what its name says" in refused(tmp_path, SPEC.to_mapping())


def test_folder_that_not_even_root_can_make():
    assert "cannot hold a sweep" in refused(Path("/proc/fasthop"))


def test_folder_in_use(tmp_path):
    with store.open_store(tmp_path, SPEC, TASKS.names):
        sentence = refused(tmp_path, SPEC.to_mapping())
    assert sentence == f"{tmp_path} is in use: another process is running a sweep in it."
    assert run(SPEC.to_mapping(), tmp_path, registry=REGISTRY).chunks == 6
