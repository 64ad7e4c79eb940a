"""Everything that can be wrong with a folder, and that it is found."""

import hashlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.columns import parquet_bytes
from fasthop.sweep.read import read
from fasthop.sweep.run import run
from fasthop.sweep.verify import verify
from sweep.coins import COINS, REGISTRY, SHAPE, spec
from sweep.damage import alter, alter_manifest

SPEC = spec(realisations=10)


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    monkeypatch.setattr(store, "FLUSH_ROWS", 15)


@pytest.fixture
def folder(tmp_path):
    run(SPEC, tmp_path / "a", registry=REGISTRY)
    return tmp_path / "a"


def problems(folder, **options):
    return verify(folder, **options).problems


def test_sound_sweep_has_no_problems(folder):
    report = verify(folder, sample=100)
    assert (report.files, report.rows, report.recomputed) == (3, 40, 6)
    assert (report.problems, report.notes) == ((), ())


def test_truncated_file(folder):
    path = store.table_files(folder)[1]
    path.write_bytes(path.read_bytes()[:-100])
    truncated, gap = problems(folder)
    assert truncated.startswith(f"{path} is not what its name says: it was truncated, changed or renamed")
    assert gap.startswith("chunks lack, 3, the first of them ")


def test_single_bit(folder):
    path = store.table_files(folder)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert problems(folder)[0].startswith(f"{path} is not what its name says")


def test_renamed_file(folder):
    path = store.table_files(folder)[0]
    other = store.table_files(folder)[1].name
    path.rename(path.with_name("my rows.parquet"))
    assert "my rows.parquet is not what its name says" in problems(folder)[0]
    (path.with_name("my rows.parquet")).rename(path.with_name(other.replace("rows-", "rows-1")))
    assert "is not what its name says" in problems(folder)[0]


def foreign(folder, data, name=None):
    path = folder / "tables" / (name or store.file_name(0, 1, data))
    path.write_bytes(data)
    return path


def test_foreign_files(folder, tmp_path):
    own = store.table_files(folder)[0]
    text = foreign(folder, b"mine", "notes.txt")
    table = foreign(folder, bytes(parquet_bytes(pa.table({"x": [1]}))))
    run({**SPEC, "seed": 8}, tmp_path / "b", registry=REGISTRY)
    other = foreign(folder, store.table_files(tmp_path / "b")[0].read_bytes())
    plain = foreign(folder, bytes(parquet_bytes(pq.read_table(own).replace_schema_metadata())))
    found = problems(folder)
    assert f"{text} is no file of this sweep." in found
    assert f"{table} has other columns than this sweep: it is not one of its files." in found
    assert f"{other} has seed [8], where this sweep has 7." in found
    assert f"{plain} has no spec in its footer." in found
    assert len(found) == 4


@pytest.mark.parametrize("column", ["schema_version", "stream_version", "kernel_version", "seed"])
def test_other_versions(folder, column):
    path = alter(store.table_files(folder)[0], column, lambda values: [value + 1 for value in values])
    assert problems(folder)[0].startswith(f"{path} has {column} [")


def test_gap(folder):
    store.table_files(folder)[1].unlink()
    (gap,) = problems(folder)
    assert gap.startswith("chunks lack, 3, the first of them ")
    run(SPEC, folder, registry=REGISTRY)
    assert problems(folder) == ()


def test_realisation_in_two_files(folder, tmp_path):
    run(spec(realisations=4), tmp_path / "b", registry=REGISTRY)
    (extra,) = store.table_files(tmp_path / "b")
    shutil.copy(extra, folder / "tables")
    (sentence,) = problems(folder)
    assert "and 7 more, which another file has too" in sentence
    assert "fasthop compact keeps one" in sentence
    assert main(["compact", str(folder)]) == 0
    assert problems(folder) == ()


def test_realisation_twice_in_one_file(folder):
    path = store.table_files(folder)[0]
    rows = pq.ParquetFile(path).read()
    data = bytes(parquet_bytes(pa.concat_tables([rows, rows]).combine_chunks()))
    path.unlink()
    again = foreign(folder, data)
    assert problems(folder)[0] == f"{again} has rows of one realisation in two places."


def test_wrong_number_is_found_by_computing_again(folder):
    alter(store.table_files(folder)[1], "count", lambda values: [*values[:-1], values[-1] + 1])
    assert problems(folder, sample=0) == ()
    (sentence,) = problems(folder, sample=6)
    assert sentence.endswith(" has other rows than computing it again gives.")
    caught = [bool(problems(folder, sample=2, seed=seed)) for seed in range(20)]
    assert 1 <= sum(caught) <= 19  # the seed chooses the sample
    assert caught == [bool(problems(folder, sample=2, seed=seed)) for seed in range(20)]


def test_last_bit_is_compared(tmp_path, monkeypatch):
    run(SPEC, tmp_path / "a", registry=REGISTRY)

    larger = SHAPE._replace(values=lambda task: (task["shape"]["name"], 1.0 + 2**-52))
    fields = tuple(field._replace(shown=larger) if field.key == "shape" else field for field in COINS.fields)
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", {"coins": COINS._replace(fields=fields)})
    assert len(problems(tmp_path / "a", sample=6)) == 6


def test_rows_of_another_machine_are_not_compared(folder):
    for path in store.table_files(folder)[:2]:
        path = alter(path, "instruction_set", lambda values: ["aaa"] * len(values))
        alter(path, "count", lambda values: [value + 1 for value in values])
    report = verify(folder, sample=6)
    assert report.problems == ()
    assert len(report.notes) == 2
    assert report.notes[0].startswith("the rows were computed with several instruction sets (aaa, ")
    assert report.notes[1].startswith("18 realisations are not of this machine's instruction set")


def test_manifest_with_other_tasks(folder):
    alter_manifest(folder, lambda manifest: manifest.update(tasks=["0" * 16, *manifest["tasks"][1:]]))
    assert problems(folder)[0] == f"{folder / 'manifest.json'} has other task ids than its spec gives."


def test_sweep_that_stopped_by_its_rule_is_whole(tmp_path):
    run({**SPEC, "run": {"stop": {"failures": 60, "min": 4, "max": 100}}}, tmp_path / "a", registry=REGISTRY)
    assert problems(tmp_path / "a") == ()
    store.table_files(tmp_path / "a")[0].unlink()
    assert problems(tmp_path / "a")[0].startswith("chunks lack, at most ")


def test_verify_changes_nothing(folder):
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}
    verify(folder)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()} == before


def test_command_line(folder, capsys):
    assert main(["verify", str(folder), "--sample", "2"]) == 0
    expected = f"{folder}: 40 rows in 3 files looked at, 2 chunks computed again; no problems\n"
    assert capsys.readouterr() == (expected, "")
    store.table_files(folder)[0].unlink()
    assert main(["verify", str(folder)]) == 1
    output, errors = capsys.readouterr()
    assert output.endswith("; 1 problem\n")
    assert errors.startswith("fasthop: chunks lack, ")
    assert main(["verify", "absent"]) == 2
    assert len(read(folder)) < 40
