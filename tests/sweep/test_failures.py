"""Realisations that fail: outcomes with a reason, told, tried again, and counted never or once."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthop.cli import main
from fasthop.sweep import store
from fasthop.sweep.attempt import attempt
from fasthop.sweep.index import Failure
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import plan_tasks
from fasthop.sweep.read import read
from fasthop.sweep.run import outlook, run, table
from fasthop.sweep.spec import spec_from_mapping
from fasthop.sweep.status import status
from fasthop.sweep.stop import Stop
from fasthop.sweep.verify import verify
from sweep.coins import COINS, REGISTRY, spec

SPEC = spec(realisations=14, bias=[0.2, 0.5])
REFUSAL = ValueError("states must be finite; states[0] is nan.")
BAD = {(0.2, 3), (0.2, 5), (0.5, 0), (0.5, 12), (0.5, 13)}  # chunks have four: two in one, one, a whole last one


def failing(bad, error=REFUSAL):
    """Return the experiments with one that fails where one of these realisations is among those it is asked for."""

    def rows(task, realisations, seed):
        if any((task["bias"], realisation) in bad for realisation in realisations):
            raise error
        return COINS.rows(task, realisations, seed)

    return {"coins": COINS._replace(rows=rows)}


def which(failures):
    return [(one.task_id, one.realisation) for one in failures]


TASKS = plan_tasks(spec_from_mapping(SPEC, REGISTRY))
ID = {task.parameters["bias"]: task.task_id for task in TASKS}
FAILED = sorted((ID[bias], realisation) for bias, realisation in BAD)


def without(frame, bad=BAD):
    keep = [pair not in bad for pair in zip(frame["bias"], frame["realisation"], strict=True)]
    return frame[keep].reset_index(drop=True)


def same(one, two):
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)


def test_sweep_goes_on_to_its_end_and_tells(tmp_path):
    report = run(SPEC, tmp_path, registry=failing(BAD))
    assert which(report.failed) == FAILED
    assert {one.reason for one in report.failed} == {"states must be finite; states[0] is nan."}
    assert (report.chunks, report.rows) == (8, 2 * (28 - 5))
    whole = table(SPEC, REGISTRY)
    same(read(tmp_path), without(whole))
    found = status(tmp_path)
    assert which(found.failed) == FAILED
    assert found.tasks[["realisations", "failed", "left"]].to_numpy().tolist() == [[12, 2, 0], [11, 3, 0]]
    problems = verify(tmp_path, sample=99).problems
    assert len(problems) == 5
    ending = "failed: states must be finite; states[0] is nan.; run again to try it again."
    assert all(problem.endswith(ending) for problem in problems)
    assert (tmp_path / "summary.parquet").exists()


def test_new_run_tries_them_again_and_nothing_counts_twice(tmp_path):
    run(SPEC, tmp_path, registry=failing(BAD))
    assert outlook(SPEC, tmp_path, REGISTRY).left == 4
    asked = []

    def rows(task, realisations, seed):
        asked.append((task["bias"], *realisations))
        return COINS.rows(task, realisations, seed)

    report = run(SPEC, tmp_path, registry={"coins": COINS._replace(rows=rows)})
    assert asked == [(0.2, 3), (0.2, 5), (0.5, 0), (0.5, 12, 13)]
    assert (report.failed, report.chunks) == ((), 4)
    same(read(tmp_path), table(SPEC, REGISTRY))
    assert status(tmp_path).failed == []
    assert verify(tmp_path, sample=99).problems == ()


def test_what_fails_again_stays_as_it_is(tmp_path):
    first = run(SPEC, tmp_path, registry=failing(BAD))
    before = [path.name for path in store.table_files(tmp_path)]
    again = run(SPEC, tmp_path, registry=failing(BAD, RuntimeError("no  luck\nat all")))
    assert which(again.failed) == which(first.failed)
    assert again.failed[0].reason.startswith("RuntimeError: no luck at all (test_failures.py:")
    assert [path.name for path in store.table_files(tmp_path)] == before


def test_sweep_where_all_fails_has_an_end_too(tmp_path):
    everything = {(bias, realisation) for bias in (0.2, 0.5) for realisation in range(14)}
    report = run(SPEC, tmp_path, registry=failing(everything))
    assert (len(report.failed), report.rows, store.table_files(tmp_path)) == (28, 0, [])
    assert status(tmp_path).tasks["failed"].tolist() == [14, 14]
    assert len(verify(tmp_path).problems) == 21


def test_shards_and_copies(tmp_path):
    """Where one of them has the rows, they count; a failure of both is told once."""
    for number in (1, 2):
        run(SPEC, tmp_path / str(number), registry=failing(BAD), shard=(number, 2))
    merge([tmp_path / "1", tmp_path / "2", tmp_path / "1"], tmp_path / "merged")
    assert which(status(tmp_path / "merged").failed) == FAILED
    same(read(tmp_path / "merged"), without(table(SPEC, REGISTRY)))
    compact(tmp_path / "merged")
    assert which(status(tmp_path / "merged").failed) == FAILED
    run(SPEC, tmp_path / "luckier", registry=failing({(0.5, 12)}))
    merge([tmp_path / "luckier"], tmp_path / "merged")
    assert which(status(tmp_path / "merged").failed) == [(ID[0.5], 12)]
    run(SPEC, tmp_path / "merged", registry=REGISTRY)
    same(read(tmp_path / "merged"), table(SPEC, REGISTRY))
    assert verify(tmp_path / "merged").problems == ()


RULE = {"half_width": 0.06, "min": 6, "max": 60}


def by_hand(bias, bad):
    """What a rule leaves of a task, from all its realisations: plain, chunk by chunk."""
    rows = COINS.rows({**TASKS[0].parameters, "bias": bias}, range(60), 7)
    heads = dict(zip(rows["realisation"][1::2], rows["count"][1::2], strict=True))
    there = []
    for start in range(0, 60, 4):
        there += [realisation for realisation in range(start, start + 4) if (bias, realisation) not in bad]
        counts = np.array([[heads[realisation], 0, 16] for realisation in there]).reshape(-1, 3)
        if Stop(6, 60, half_width=0.06).met(counts):
            break
    return there


@settings(max_examples=12, deadline=None)
@given(bad=st.sets(st.tuples(st.sampled_from([0.2, 0.5]), st.integers(0, 30)), max_size=12))
def test_rule_decides_by_those_that_did_not_fail(tmp_path_factory, bad):
    mapping = {**spec(bias=[0.2, 0.5]), "run": {"stop": RULE}}
    out = tmp_path_factory.mktemp("rule") / "a"
    for again in range(2):  # the second run tries the failed ones again, and decides alike
        run(mapping, out, registry=failing(bad))
        frame = read(out)
        for bias in (0.2, 0.5):
            due = by_hand(bias, bad)
            assert frame.loc[frame["bias"] == bias, "realisation"].unique().tolist() == due, again
        assert status(out).left == 0
        assert all("failed" in problem for problem in verify(out, sample=0).problems)


def test_agenda_without_a_failed_chunk_has_no_gap():
    checked = spec_from_mapping(SPEC, REGISTRY)
    failed = [Failure(TASKS[0].task_id, one, "") for one in range(14)]
    failed += [Failure(TASKS[1].task_id, one, "") for one in (0, 1, 2)]
    agenda = Agenda(checked, TASKS, failed=failed)
    assert [list(chunk.realisations) for chunk in agenda] == [[3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]


@given(st.sets(st.integers(0, 40)), st.integers(1, 40))
def test_exactly_those_fail_that_fail_alone(bad, count):
    calls = []

    def rows(task, realisations, seed):
        calls.append(len(realisations))
        if bad & set(realisations):
            raise ArithmeticError
        return {"realisation": list(realisations)}

    found = attempt(rows, {}, range(count), 0)
    lost = bad & set(range(count))
    assert found.failed.keys() == lost
    assert [one for piece, _ in found.pieces for one in piece] == sorted(set(range(count)) - lost)
    assert all(columns["realisation"] == piece for piece, columns in found.pieces)
    assert len(calls) <= 1 + 2 * len(lost) * int(np.ceil(np.log2(count))) or not lost


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(28, "No space left on device"), KeyboardInterrupt(), ImportError("no torch")]
)
def test_what_is_of_the_machine_ends_a_run(tmp_path, error):
    with pytest.raises(type(error)):
        run(SPEC, tmp_path, registry=failing(BAD, error))
    assert store.read_manifest(tmp_path)["failed"] == []
    run(SPEC, tmp_path, registry=REGISTRY)
    same(read(tmp_path), table(SPEC, REGISTRY))


def test_table_without_a_folder_raises_what_was_raised():
    with pytest.raises(ValueError, match="states must be finite"):
        table(SPEC, failing(BAD))


def test_picture_that_fails_ends_nothing(tmp_path, capsys, monkeypatch):
    def plot(summary, path):
        raise KeyError("neurons")

    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", {"coins": COINS._replace(plot=plot)})
    toml = tmp_path / "sweep.toml"
    toml.write_text('experiment = "coins"\n[coin]\nbias = 0.5\n[run]\nrealisations = 3\n')
    out = tmp_path / "out"
    for _ in range(2):
        assert main(["run", str(toml), "--out", str(out)]) == 0
        assert capsys.readouterr().err == f"fasthop: {out / 'coins.png'} could not be made: KeyError: 'neurons'\n"
    assert (out / "summary.parquet").exists()
    assert not (out / "coins.png").exists()
    assert main(["plot", str(out)]) == 2
    assert capsys.readouterr().err == f"fasthop: {out / 'coins.png'} cannot be drawn: KeyError: 'neurons'\n"
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    assert main(["run", str(toml), "--out", str(out)]) == 0
    assert (out / "coins.png").exists()


def test_summary_that_fails_ends_nothing(tmp_path):
    def summarise(frame):
        raise ZeroDivisionError("division by zero")

    report = run(SPEC, tmp_path, registry={"coins": COINS._replace(summarise=summarise)})
    assert report.notes == (f"{tmp_path / 'summary.parquet'} could not be made: ZeroDivisionError: division by zero",)
    same(read(tmp_path), table(SPEC, REGISTRY))


def test_command_line(tmp_path, capsys, monkeypatch):
    toml = tmp_path / "sweep.toml"
    toml.write_text("experiment='coins'\nseed=7\n[coin]\nbias=[0.2,0.5]\n[run]\nrealisations=14\n")
    out = tmp_path / "out"
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", failing(BAD))
    assert main(["run", str(toml), "--out", str(out), "--log-json"]) == 1
    *lines, last = capsys.readouterr().err.splitlines()
    assert [json.loads(line).get("failed") for line in lines[1:-1]] == [1, 1, None, None, 1, None, None, 2]
    task_id, first = FAILED[0]
    told = f"realisation {first} of the task {task_id} failed: states must be finite; states[0] is nan."
    ways = f"; fasthop status {out} lists them, a new run tries them again."
    assert last == f"fasthop: 5 realisations have no rows: {told}{ways}"
    assert main(["status", str(out)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if " failed: " in line] == [
        f"realisation {realisation} of the task {name} failed: states must be finite; states[0] is nan."
        for name, realisation in FAILED
    ]
    assert main(["verify", str(out)]) == 1
    monkeypatch.setattr("fasthop.experiments.EXPERIMENTS", REGISTRY)
    assert main(["run", str(toml), "--out", str(out)]) == 0
