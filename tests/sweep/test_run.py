"""A sweep from its start to its table, whatever comes between."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fasthop.sweep import store
from fasthop.sweep.errors import FolderError
from fasthop.sweep.index import held, index_files
from fasthop.sweep.plan import plan_tasks
from fasthop.sweep.progress import json_lines
from fasthop.sweep.read import read
from fasthop.sweep.run import outlook, run, table
from fasthop.sweep.spec import spec_from_mapping, spec_from_text
from fasthop.sweep.status import status
from fasthop.sweep.summary import plot
from sweep.coins import COINS, REGISTRY, spec
from sweep.processes import TOML, start


def counting(**changes):
    """Return the experiments with one that notes what it is asked for."""
    asked = []

    def rows(task, realisations, seed):
        asked.append((task["bias"], list(realisations)))
        return COINS.rows(task, realisations, seed)

    return {"coins": COINS._replace(rows=rows, **changes)}, asked


def same(one, two):
    pd.testing.assert_frame_equal(one, two, check_exact=True)


# --- in one process -------------------------------------------------------------------------------------------------


def test_run_fills_a_folder_and_says_what_it_did(tmp_path):
    out = tmp_path / "runs" / "a"
    report = run(spec(), out, registry=REGISTRY)
    assert (report.out, report.rows, report.chunks, report.skipped) == (out, 40, 6, 0)
    assert report.seconds > 0
    assert {path.name for path in out.iterdir()} == {
        "coins.png",
        "lock",
        "manifest.json",
        "partial",
        "summary.parquet",
        "tables",
    }
    same(pd.read_parquet(out / "summary.parquet"), read(out, summary=True, registry=REGISTRY))


def test_rows_are_those_of_the_experiment_in_order(tmp_path):
    run(spec(), tmp_path, registry=REGISTRY)
    frame = read(tmp_path, registry=REGISTRY)
    tasks = plan_tasks(spec_from_mapping(spec(), REGISTRY))
    expected = [count for task in tasks for count in COINS.rows(task.parameters, range(10), 7)["count"]]
    assert frame["count"].tolist() == expected
    assert frame["realisation"].tolist() == [i for i in range(10) for _ in range(2)] * 2
    assert frame["side"].tolist() == ["tails", "heads"] * 20
    assert frame["task_id"].drop_duplicates().tolist() == [task.task_id for task in tasks]
    assert {str(dtype) for dtype in frame.dtypes} <= {"str", "object", "int32", "int64", "uint64", "float64"}


def test_table_is_what_run_would_write(tmp_path):
    run(spec(), tmp_path, registry=REGISTRY)
    same(table(spec(), REGISTRY), read(tmp_path, registry=REGISTRY))


def test_second_run_computes_nothing(tmp_path):
    registry, asked = counting()
    run(spec(), tmp_path, registry=registry)
    before = {path: path.stat().st_mtime_ns for path in store.table_files(tmp_path)}
    asked.clear()
    report = run(spec(), tmp_path, registry=registry)
    assert (report.rows, report.chunks, report.skipped, asked) == (0, 0, 6, [])
    assert {path: path.stat().st_mtime_ns for path in store.table_files(tmp_path)} == before


def test_more_realisations_extend_a_sweep(tmp_path):
    registry, asked = counting()
    run(spec(realisations=10), tmp_path / "grown", registry=registry)
    asked.clear()
    report = run(spec(realisations=15), tmp_path / "grown", registry=registry)
    assert asked == [(bias, missing) for bias in (0.2, 0.5) for missing in ([10, 11], [12, 13, 14])]
    assert (report.rows, report.chunks, report.skipped) == (20, 4, 4)
    run(spec(realisations=15), tmp_path / "at once", registry=REGISTRY)
    for summary in (False, True):
        same(*(read(tmp_path / name, summary, REGISTRY) for name in ("grown", "at once")))
    same(*(pd.read_parquet(tmp_path / name / "summary.parquet") for name in ("grown", "at once")))


def test_fewer_realisations_take_nothing_away(tmp_path):
    run(spec(realisations=15), tmp_path, registry=REGISTRY)
    before = read(tmp_path, registry=REGISTRY)
    report = run(spec(realisations=10), tmp_path, registry=REGISTRY)
    assert (report.chunks, report.skipped) == (0, 6)
    same(read(tmp_path, registry=REGISTRY), before)


@settings(max_examples=15, deadline=None)
@given(stops=st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_interruptions_do_not_show_in_the_table(tmp_path_factory, stops):
    out = tmp_path_factory.mktemp("runs") / "a"
    for stop in stops:
        asked = []

        def rows(task, realisations, seed, asked=asked, stop=stop):
            asked.append(task)
            if len(asked) > stop:
                raise KeyboardInterrupt
            return COINS.rows(task, realisations, seed)

        with contextlib.suppress(KeyboardInterrupt):
            run(spec(), out, registry={"coins": COINS._replace(rows=rows)})
        assert (out / "summary.parquet").exists() == (len(asked) <= stop)
    run(spec(), out, registry=REGISTRY)
    same(read(out, registry=REGISTRY), table(spec(), REGISTRY))


def test_summary_is_not_there_while_it_would_be_old(tmp_path):
    run(spec(realisations=5), tmp_path, registry=REGISTRY)

    def rows(task, realisations, seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec(), tmp_path, registry={"coins": COINS._replace(rows=rows)})
    assert not (tmp_path / "summary.parquet").exists()
    assert not (tmp_path / "coins.png").exists()
    assert read(tmp_path, summary=True, registry=REGISTRY)["heads"].gt(0).all()
    assert plot(tmp_path, REGISTRY).read_bytes().startswith(b"\x89PNG")


def test_realisation_in_two_files_counts_once(tmp_path):
    run(spec(realisations=5), tmp_path / "a", registry=REGISTRY)
    run(spec(realisations=10), tmp_path / "b", registry=REGISTRY)
    for path in store.table_files(tmp_path / "a"):
        (tmp_path / "b" / "tables" / path.name).write_bytes(path.read_bytes())
    assert len(store.table_files(tmp_path / "b")) == 2
    same(read(tmp_path / "b", registry=REGISTRY), table(spec(), REGISTRY))


def test_manifest_says_who_ran_what(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TOML)
    run(path, tmp_path / "out", registry=REGISTRY)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["source"] == TOML
    assert len(manifest["tasks"]) == 9
    (entry,) = manifest["runs"]
    assert (entry["chunks"], entry["rows"]) == (90, 720)
    assert entry["host"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["started"])


def test_outlook_creates_nothing(tmp_path):
    assert outlook(spec(), tmp_path / "out", REGISTRY)[:4] == (2, 6, 20, 6)
    assert not (tmp_path / "out").exists()
    run(spec(realisations=4), tmp_path / "out", registry=REGISTRY)
    before = sorted(tmp_path.rglob("*"))
    assert outlook(spec(), tmp_path / "out", REGISTRY)[:4] == (2, 6, 20, 4)
    assert sorted(tmp_path.rglob("*")) == before
    assert outlook(spec(), registry=REGISTRY).left == 6


def test_progress_is_shown_on_a_terminal(tmp_path, capsys, monkeypatch):
    run(spec(), tmp_path / "pipe", registry=REGISTRY)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(spec(), tmp_path / "terminal", registry=REGISTRY)
    output, errors = capsys.readouterr()
    assert output == ""
    assert "6/6" in errors
    run(spec(), tmp_path / "silent", progress=False, registry=REGISTRY)
    assert capsys.readouterr() == ("", "")


def test_progress_tells_the_interval_of_every_task_so_far(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    run(spec(), tmp_path, registry=REGISTRY)
    told = capsys.readouterr().err
    frame = read(tmp_path)
    for bias, rows in frame[frame["side"] == "heads"].groupby("bias"):
        rates = rows["count"] / 16
        low, high = stats.t.interval(0.95, 9, rates.mean(), stats.sem(rates))
        line = next(line for line in told.splitlines() if line.startswith(f"bias {bias:g}"))
        assert line.split("  ")[1:] == [f"{rates.mean():.4f}", f"[{low:.4f}, {high:.4f}]", "10 realisations"]


def test_progress_as_json(tmp_path):
    stream = io.StringIO()
    run(spec(), tmp_path, json_lines(stream), registry=REGISTRY)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["begin", *["chunk"] * 6, "end"]
    assert [(line["done"], line["left"]) for line in lines] == [(0, 6), *((i, 6 - i) for i in range(1, 7)), (6, 0)]
    assert lines[0].keys() == {"event", "seconds", "done", "left"}
    assert lines[-1]["error"] is None
    first, last = lines[1], lines[3]
    task = plan_tasks(spec_from_mapping(spec(), REGISTRY))[0]
    assert (first["chunk"], last["chunk"]) == (f"{task.task_id}-0", f"{task.task_id}-2")
    assert (first["realisations"], last["realisations"]) == (4, 10)
    assert last["parameters"]["bias"] == 0.2
    heads = read(tmp_path).query("bias == 0.2 and side == 'heads'")["count"]
    assert last["rate"] == heads.sum() / 160
    assert 0 < last["low"] < last["rate"] < last["high"] < 1


def test_json_says_what_ended_a_run_early(tmp_path):
    def rows(task, realisations, seed):
        raise KeyboardInterrupt

    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run(spec(), tmp_path, json_lines(stream), registry={"coins": COINS._replace(rows=rows)})
    assert json.loads(stream.getvalue().splitlines()[-1])["error"] == "KeyboardInterrupt"


def test_timed_outlook_estimates_and_creates_nothing(tmp_path, monkeypatch):
    """Tasks that differ: the estimate is spread over them, and is of the chunks that lack."""

    def rows(task, realisations, seed):
        time.sleep(0.002 if task["bias"] < 0.5 else 0.004)
        return COINS.rows(task, realisations, seed)

    registry = {"coins": COINS._replace(rows=rows)}
    mapping = spec(realisations=400)
    run(spec(realisations=4), tmp_path / "out", registry=REGISTRY)
    monkeypatch.setattr("fasthop.sweep.run.TIMING_SECONDS", 0.2)
    before = sorted(tmp_path.rglob("*"))
    plan = outlook(mapping, tmp_path / "out", registry, timed=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert plan[:4] == (2, 200, 800, 198)
    assert plan.rows == 2 * (800 - 8)
    assert 20 < plan.timed < 198
    assert 198 * 0.0028 < plan.seconds < 198 * 0.0032 * 3  # sleeping never takes less, and on a busy machine more
    assert outlook(mapping, tmp_path / "out", REGISTRY, shard=(1, 3)).left == 66


def test_sweep_of_one_realisation_each_is_timed_by_it(tmp_path):
    plan = outlook(spec(realisations=1, bias=0.5), registry=REGISTRY, timed=True)
    assert (plan.left, plan.timed, plan.rows) == (1, 1, 2)
    run(spec(realisations=1, bias=0.5), tmp_path, registry=REGISTRY)
    assert outlook(spec(realisations=1, bias=0.5), tmp_path, REGISTRY, timed=True)[3:] == (0, None, None, 0, False)


def test_spec_that_was_checked_can_be_run(tmp_path):
    same(table(spec_from_mapping(spec(), REGISTRY)), table(spec(), REGISTRY))


def test_status(tmp_path):
    run(spec(realisations=4), tmp_path, registry=REGISTRY)
    found = status(tmp_path, REGISTRY)
    assert (found.chunks, found.left, found.rows, found.files) == (2, 0, 16, 1)
    assert found.tasks["task"].tolist() == ["bias 0.2", "bias 0.5"]
    assert found.tasks["realisations"].tolist() == [4, 4]
    heads = read(tmp_path).groupby("bias")["heads"].sum() / 64
    assert found.tasks["rate"].tolist() == heads.tolist()
    assert (found.tasks["low"] < found.tasks["rate"]).all()
    with store.open_store(tmp_path, spec_from_mapping(spec(), REGISTRY), []):
        found = status(tmp_path, REGISTRY)  # a sweep that runs is looked at without harm
    assert (found.chunks, found.left) == (6, 4)
    assert [one.get("ended") for one in found.runs] == ["done", None]


# --- reading what is no sweep ---------------------------------------------------------------------------------------


def test_folders_that_hold_nothing_to_read(tmp_path):
    with pytest.raises(FolderError, match=r"holds no sweep: there is no .*manifest\.json"):
        read(tmp_path / "absent")
    with pytest.raises(FolderError, match="holds no sweep"):
        read(tmp_path)
    with store.open_store(tmp_path, spec_from_mapping(spec(), REGISTRY), []):
        pass
    with pytest.raises(FolderError, match="holds no rows yet"):
        read(tmp_path)


def test_rows_of_another_sweep_are_not_read(tmp_path):
    run(spec(), tmp_path / "a", registry=REGISTRY)
    run({**spec(), "seed": 8}, tmp_path / "b", registry=REGISTRY)
    for path in store.table_files(tmp_path / "b"):
        (tmp_path / "a" / "tables" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FolderError, match=r"has seed \[8\], where this sweep has 7\."):
        read(tmp_path / "a")


def test_unknown_experiment_has_rows_but_no_summary(tmp_path):
    run(spec(), tmp_path, registry=REGISTRY)
    assert len(read(tmp_path, registry={})) == 40
    with pytest.raises(FolderError, match="holds a sweep of 'coins', an experiment that this fasthop does not have"):
        read(tmp_path, summary=True, registry={})


# --- real processes -------------------------------------------------------------------------------------------------


def realisations_in(out):
    """How many realisations of all tasks lie in a folder."""
    spec_ = spec_from_text(TOML, REGISTRY)
    tasks = plan_tasks(spec_)
    return len(held(index_files(store.table_files(out), tasks.names, COINS, spec_.seed), len(tasks)).realisations)


def wait_for_tables(out, count):
    deadline = time.monotonic() + 60
    while len(store.table_files(out)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_kill_and_a_second_process(toml, tmp_path):
    out = tmp_path / "out"
    running = start("run", toml, "--out", out, COINS_PAUSE=0.5, COINS_FLUSH=0)
    try:
        wait_for_tables(out, 5)
        second = start("run", toml, "--out", out)
        assert second.communicate() == ("", f"fasthop: {out} is in use: another process is running a sweep in it.\n")
        assert second.returncode == 2
        assert running.poll() is None
    finally:
        running.kill()
        running.communicate()
    there = len(store.table_files(out))
    assert 5 <= there < 90

    registry, asked = counting()
    report = run(toml, out, registry=registry)
    assert (report.skipped, len(asked)) == (there, 90 - there)
    same(read(out, registry=REGISTRY), table(toml, REGISTRY))


def test_interrupt_keeps_what_is_finished(toml, tmp_path):
    out = tmp_path / "out"
    arguments = ["run", str(toml), "--out", str(out)]
    running = start(*arguments, COINS_PAUSE=0.02, COINS_FLUSH=0.2)
    wait_for_tables(out, 2)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate()
    assert running.returncode == 130
    assert output == ""
    assert errors == f"fasthop: interrupted; what is finished is kept, go on with: fasthop {' '.join(arguments)}\n"
    entry = json.loads((out / "manifest.json").read_text())["runs"][-1]
    assert 0 < entry["chunks"] < 90
    assert realisations_in(out) == 4 * entry["chunks"]
    assert entry["ended"] == "KeyboardInterrupt"
    run(toml, out, registry=REGISTRY)
    same(read(out, registry=REGISTRY), table(toml, REGISTRY))


def chunks_left_by(limited, out, sentence):
    """Let a process fail for want of room; return the number of chunks in the files, which are all whole."""
    _, errors = limited.communicate()
    assert limited.returncode == 1, errors
    assert re.fullmatch(rf"fasthop: \S+\.parquet: {sentence}; what is finished is kept, go on with: .*\n", errors)
    assert not list((out / "partial").iterdir())
    realisations = realisations_in(out)
    assert 0 < realisations < 360
    return realisations // 4


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_file_that_grows_too_large_leaves_the_finished_ones(toml, tmp_path):
    out = tmp_path / "out"
    toml.write_text(TOML.replace("40", "8"))
    run(toml, out, registry=REGISTRY)
    toml.write_text(TOML)
    limited = start("run", toml, "--out", out, COINS_FILE_SIZE=4000)  # enough for the manifest
    assert chunks_left_by(limited, out, "File too large") == 18
    assert run(toml, out, registry=REGISTRY).skipped == 18
    same(read(out, registry=REGISTRY), table(toml, REGISTRY))


def test_full_disk_keeps_what_is_finished(toml, small_disk):
    out = small_disk / "out"
    limited = start("run", toml, "--out", out, COINS_FLUSH=0)
    there = chunks_left_by(limited, out, "No space left on device")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert run(toml, out, registry=REGISTRY).skipped == there
    same(read(out, registry=REGISTRY), table(toml, REGISTRY))
