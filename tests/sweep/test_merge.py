"""Folders put together: the same bytes, whatever came in which order and how often."""

import hashlib
import itertools
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.errors import FolderError
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.read import read
from fasthop.sweep.run import run, table
from sweep.coins import COINS, REGISTRY, spec
from sweep.damage import alter


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    monkeypatch.setattr(store, "FLUSH_ROWS", 60)


def digest(folder):
    """One hash of all that a reader of the tables sees."""
    sha = hashlib.sha256()
    for path in store.table_files(folder):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


SPEC = spec(realisations=30, bias=[0.2, 0.5, 0.7])


@pytest.fixture
def shards(tmp_path):
    for number in (1, 2, 3):
        run(SPEC, tmp_path / str(number), registry=REGISTRY, shard=(number, 3))
    return [tmp_path / str(number) for number in (1, 2, 3)]


@pytest.fixture
def whole(tmp_path):
    run(SPEC, tmp_path / "whole", registry=REGISTRY)
    compact(tmp_path / "whole")
    return tmp_path / "whole"


def test_shards_share_the_work(shards):
    parts = [set(map(tuple, read(folder)[["task_id", "realisation"]].to_numpy().tolist())) for folder in shards]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 90
    assert min(map(len, parts)) >= 26
    entries = [store.read_manifest(folder)["runs"][0]["shard"] for folder in shards]
    assert entries == ["1/3", "2/3", "3/3"]


def test_any_order_and_one_of_them_twice_give_the_bytes_of_one_machine(shards, whole, tmp_path):
    for number, order in enumerate(itertools.permutations(shards)):
        report = merge([*order, order[0]], tmp_path / f"merged {number}")
        assert (report.rows, report.instruction_sets, report.differing) == (180, (machine_of(whole),), 0)
        assert report.repeated == len(read(order[0])) // 2
        assert digest(tmp_path / f"merged {number}") == digest(whole)
    assert len(store.table_files(whole)) == 3
    pd.testing.assert_frame_equal(read(tmp_path / "merged 0"), table(SPEC, REGISTRY), check_exact=True)


def machine_of(folder):
    (name,) = read(folder)["instruction_set"].unique()
    return str(name)


def test_step_by_step_and_into_itself(shards, whole, tmp_path):
    out = tmp_path / "merged"
    for folder in (*shards, shards[0], out):
        merge([folder], out)
    assert digest(out) == digest(whole)
    assert run(SPEC, out, registry=REGISTRY).chunks == 0
    runs = store.read_manifest(out)["runs"]
    assert [one["command"] for one in runs].count("run") == 4  # three shards and the one that found nothing to do
    assert (out / "summary.parquet").exists()


def test_merge_extends_to_the_larger_sweep(tmp_path, whole):
    run(spec(realisations=7, bias=[0.2, 0.5, 0.7]), tmp_path / "small", registry=REGISTRY)
    merge([tmp_path / "small", whole], tmp_path / "merged")
    assert digest(tmp_path / "merged") == digest(whole)
    merge([tmp_path / "small"], tmp_path / "small again")
    assert run(SPEC, tmp_path / "small again", registry=REGISTRY).skipped == 3  # one whole chunk of each task


def test_compact_leaves_the_rows_and_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0)
    run(SPEC, tmp_path, registry=REGISTRY)
    before = read(tmp_path)
    assert len(store.table_files(tmp_path)) == 24
    report = compact(tmp_path)
    assert (report.files_before, report.files, report.repeated) == (24, 3, 0)
    pd.testing.assert_frame_equal(read(tmp_path), before, check_exact=True)
    names = [path.name for path in store.table_files(tmp_path)]
    assert [name[:20] for name in names] == ["rows-0000000-0000007", "rows-0000008-0000015", "rows-0000016-0000023"]
    first = digest(tmp_path)
    compact(tmp_path)
    assert digest(tmp_path) == first
    assert all(pq.read_metadata(path).num_row_groups == 1 for path in store.table_files(tmp_path))


def test_compact_killed_between_its_last_steps_loses_and_doubles_nothing(tmp_path, whole):
    expected = digest(whole)
    (whole / "tables").rename(whole / "partial" / "tables")
    pd.testing.assert_frame_equal(read(whole), table(SPEC, REGISTRY), check_exact=True)  # nobody waits for the next
    compact(whole)
    assert digest(whole) == expected
    (whole / "tables").rename(whole / "partial" / "tables")
    assert run(SPEC, whole, registry=REGISTRY).chunks == 0  # a run finishes it as well
    assert digest(whole) == expected


def test_compact_that_fails_changes_nothing(whole, monkeypatch):
    expected = digest(whole)

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_new", full)
        with pytest.raises(OSError, match="No space left"):
            compact(whole)
    assert digest(whole) == expected
    compact(whole)
    assert digest(whole) == expected


def test_rows_that_disagree_are_not_merged(shards, tmp_path):
    liar = tmp_path / "liar"
    shutil.copytree(shards[0], liar)
    alter(store.table_files(liar)[0], "count", lambda values: [values[0] + 1, *values[1:]])
    out = tmp_path / "merged"
    merge([shards[0]], out)
    before = digest(out)
    with pytest.raises(FolderError, match=r"differ in realisation 0 of the task [0-9a-f]{16}: fasthop verify says"):
        merge([liar, shards[1]], out)
    assert digest(out) == before


def test_other_machines_are_told_apart(shards, whole, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(shards[0], other)
    path = alter(store.table_files(other)[0], "instruction_set", lambda values: ["aaa"] * len(values))
    alter(path, "count", lambda values: [values[0] + 1, *values[1:]])
    digests = set()
    for name, folders in {"one": [other, *shards], "two": [*shards, other]}.items():
        assert main(["merge", *map(str, folders), "-o", str(tmp_path / name)]) == 0
        assert "several instruction sets (aaa, " in capsys.readouterr().err
        digests.add(digest(tmp_path / name))
    assert len(digests) == 1  # whichever was named first
    report = merge([other, *shards], tmp_path / "three")
    assert report.differing == 1
    assert report.instruction_sets == ("aaa", machine_of(whole))


def test_other_sweeps_are_refused(shards, tmp_path):
    run({**SPEC, "seed": 8}, tmp_path / "seed", registry=REGISTRY)
    with pytest.raises(FolderError, match=r"hold different sweeps \(seed is 7 there and 8 here\)"):
        merge([shards[0], tmp_path / "seed"], tmp_path / "out")
    rules = [{"failures": number, "min": 2, "max": 30} for number in (5, 6)]
    for number, rule in enumerate(rules):
        run({**SPEC, "run": {"stop": rule}}, tmp_path / f"rule {number}", registry=REGISTRY)
    with pytest.raises(FolderError, match="their stopping rules differ"):
        merge([tmp_path / "rule 0", tmp_path / "rule 1"], tmp_path / "out")
    with pytest.raises(FolderError, match="holds no sweep"):
        merge([tmp_path / "absent"], tmp_path / "out")
    with pytest.raises(FolderError, match="needs at least one folder"):
        merge([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_of_any_number_stay_in_order(tmp_path, monkeypatch):
    """Realisations with different numbers of rows, spread over files without order."""

    def rows(task, realisations, seed):
        columns = COINS.rows(task, realisations, seed)
        keep = [i for i, r in enumerate(columns["realisation"]) for _ in range(1 + r % 3)]
        return {name: [column[i] for i in keep] for name, column in columns.items()}

    registry = {"coins": COINS._replace(rows=rows)}
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", registry)
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0)
    for number in (2, 1):
        run(SPEC, tmp_path / str(number), registry=registry, shard=(number, 2))
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    pd.testing.assert_frame_equal(read(tmp_path / "out"), table(SPEC, registry), check_exact=True)
    in_files = pd.concat([pd.read_parquet(path) for path in store.table_files(tmp_path / "out")], ignore_index=True)
    pd.testing.assert_frame_equal(in_files, table(SPEC, registry), check_exact=True)


def test_shards_without_a_chunk_are_no_obstacle(tmp_path):
    small = spec(realisations=3, bias=0.5)
    reports = [run(small, tmp_path / str(n), registry=REGISTRY, shard=(n, 3)) for n in (1, 2, 3)]
    assert [(report.chunks, report.rows) for report in reports] == [(1, 6), (0, 0), (0, 0)]
    merge([tmp_path / "3", tmp_path / "2", tmp_path / "1"], tmp_path / "out")
    pd.testing.assert_frame_equal(read(tmp_path / "out"), table(small, REGISTRY), check_exact=True)
    assert merge([tmp_path / "2"], tmp_path / "nothing").rows == 0


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1.0, 3), (1, 0)])
def test_shards_that_are_none(shard, tmp_path):
    with pytest.raises((TypeError, ValueError), match="shard"):
        run(SPEC, tmp_path / "out", registry=REGISTRY, shard=shard)
    assert not (tmp_path / "out").exists()


def test_command_line(shards, tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", *map(str, shards), "-o", str(out)]) == 0
    assert capsys.readouterr() == (f"{out}: 180 rows; 3 files became 3; 0 realisations were there more than once\n", "")
    assert main(["compact", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 180 rows; 3 files became 3;")
    assert main(["compact", str(tmp_path / "absent")]) == 2
    assert "holds no sweep" in capsys.readouterr().err
