"""Sweeps of many tasks: what is done for all at once is what would be done one by one, and its cost is bounded."""

import hashlib
import itertools
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from fasthop.experiments import EXPERIMENTS, capacity
from fasthop.statistics import over_realisations, with_undecided, with_undecided_rows
from fasthop.sweep import index as indices
from fasthop.sweep import plan as plans
from fasthop.sweep import read as reading
from fasthop.sweep import store
from fasthop.sweep.index import Failure, Held, Index, cut
from fasthop.sweep.merge import compact, merge
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import Names, Shard, plan_tasks
from fasthop.sweep.progress import interval, intervals, label, labels
from fasthop.sweep.read import read
from fasthop.sweep.run import here, outlook, run
from fasthop.sweep.spec import load_spec, spec_from_mapping
from fasthop.sweep.status import status
from fasthop.sweep.verify import verify
from rows import rows_of
from sweep.coins import COINS, REGISTRY, spec

ROOT = Path(__file__).resolve().parents[2]


def same(one, two):
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def many(tasks, realisations=4):
    """A sweep of so many tasks, some of them alike but for one number."""
    return spec(realisations, bias=[i / 50 for i in range(50)], sides=list(range(1, tasks // 50 + 1)))


# --- the plan -------------------------------------------------------------------------------------------------------


def plain(value):
    """One spelling for each number."""
    if type(value) is float and value == int(value):
        return int(value)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


def id_of(checked, parameters):
    """The id of one task, spelled out."""
    identity = {"experiment": checked.experiment.name, "seed": checked.seed, "parameters": plain(parameters)}
    identity |= {"stream_version": plans.STREAM_VERSION, "kernel_version": plans.KERNEL_VERSION}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "specs").glob("*.toml")), ids=lambda path: path.stem)
def test_plan_has_every_combination_and_its_id(path):
    checked = load_spec(path)
    tasks, combinations = plan_tasks(checked), list(checked.combinations())
    assert len(tasks) == len(combinations) == checked.tasks
    assert [task.parameters for task in tasks] == combinations
    assert [list(task.parameters) for task in tasks] == [list(some) for some in combinations]
    assert list(tasks.names) == [task.task_id for task in tasks] == [id_of(checked, some) for some in combinations]
    assert [task.per_chunk for task in tasks] == list(map(checked.experiment.per_chunk, combinations))
    assert tasks.names.ranks(list(tasks.names)[::-1]).tolist() == list(range(len(tasks)))[::-1]
    assert tasks[-1] == list(tasks)[-1]
    with pytest.raises(IndexError):
        tasks[len(tasks)]


def test_names_that_are_not_there_have_no_place():
    names = Names.of(["b" * 16, "a" * 16])
    asked = ["a" * 16, "", "a" * 15, "a" * 17, "ä" * 8, "c", "b" * 16]
    assert names.ranks(asked).tolist() == [1, -1, -1, -1, -1, -1, 0]
    assert Names.of([]).ranks(asked).tolist() == [-1] * 7
    assert names.ranks([]).tolist() == []


# --- the agenda -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    there=st.lists(st.sets(st.integers(0, 14), max_size=14), min_size=3, max_size=3),
    lost=st.lists(st.sets(st.integers(0, 14), max_size=3), min_size=3, max_size=3),
    realisations=st.integers(1, 12),
    total=st.integers(1, 4),
)
def test_agenda_lacks_what_is_neither_there_nor_failed(there, lost, realisations, total):
    """Against sets, for every shard: the counts of chunks, and the chunks."""
    checked = spec_from_mapping(spec(realisations, bias=[0.1, 0.2, 0.3]), REGISTRY)
    tasks = plan_tasks(checked)
    lost = [some - own for some, own in zip(lost, there, strict=True)]
    bounds = np.cumsum([0, *map(len, there)])
    there_ = Held(bounds, np.array([one for own in there for one in sorted(own)], int), np.zeros((bounds[-1], 3), int))
    failed = [Failure(tasks.names[rank], one, "") for rank, some in enumerate(lost) for one in some]
    due = {}
    for rank, (own, some) in enumerate(zip(there, lost, strict=True)):
        for part in range(-(-realisations // 4)):
            lacking = [one for one in range(4 * part, min(4 * part + 4, realisations)) if one not in own | some]
            if lacking:
                due[tasks.names[rank], part] = lacking
    seen = {}
    for number in range(1, total + 1):
        agenda = Agenda(checked, tasks, there_, Shard(number, total), failed)
        chunks = list(agenda)
        assert (len(chunks), agenda.lacking.sum()) == (agenda.left, agenda.left)
        assert list(agenda.at(range(agenda.left)[::-1])) == chunks[::-1]
        found = {(chunk.task.task_id, chunk.part): list(chunk.realisations) for chunk in chunks}
        assert all(chunk.number % total == number - 1 for chunk in chunks)
        assert not found.keys() & seen.keys()
        seen |= found
    assert seen == due
    whole = Agenda(checked, tasks, there_, failed=failed)
    assert whole.there + whole.left == 3 * -(-realisations // 4)
    names = [name for name, _ in due]
    assert whole.lacking.tolist() == [names.count(name) for name in tasks.names]


# --- the index ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 2)), max_size=60), st.booleans())
def test_every_realisation_is_taken_once(entries, ascending):
    entries = sorted(entries) if ascending else entries
    task, realisation, machine = (indices._small(np.array(some, int)) for some in np.reshape(entries, (-1, 3)).T)
    nothing = np.zeros(len(entries), np.int8)
    index = Index([], ["a", "b", "c"], nothing, task, realisation, nothing, nothing, machine, nothing)
    due = {}
    for place, (*which, kind) in enumerate(entries):
        if tuple(which) not in due or kind < entries[due[tuple(which)]][2]:
            due[tuple(which)] = place
    assert index.once().tolist() == [due[which] for which in sorted(due)]


@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(-130, 130), max_size=20))
def test_smallest_type_has_room(numbers):
    small = indices._small(np.array(numbers, np.int64))
    assert small.tolist() == numbers
    assert small.dtype.itemsize == next(
        size for size in (1, 2, 4, 8) if all(-(2 ** (8 * size - 1)) <= one < 2 ** (8 * size - 1) for one in numbers)
    )


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 20))
def test_pieces_are_as_large_as_they_may_be(rows, most):
    pieces = [piece.tolist() for piece in cut(np.arange(len(rows)), np.array(rows, np.int8), most)]
    assert list(itertools.chain.from_iterable(pieces)) == list(range(len(rows)))
    sizes = [sum(rows[one] for one in piece) for piece in pieces]
    assert all(size <= most or len(piece) == 1 for size, piece in zip(sizes, pieces, strict=True))
    assert all(size + rows[piece[-1] + 1] > most for size, piece in zip(sizes[:-1], pieces[:-1], strict=True))


def test_sweep_of_more_than_one_byte_can_count(tmp_path):
    """More tasks, realisations and rows than the smallest types hold, in shards that are merged."""
    mapping = {**spec(300, bias=[i / 10 for i in range(10)], sides=[1, 2])}
    alone = run(mapping, tmp_path / "alone", registry=REGISTRY)
    for number in (1, 2, 3):
        run(mapping, tmp_path / str(number), registry=REGISTRY, shard=(number, 3))
    merge([tmp_path / str(number) for number in (3, 1, 2)], tmp_path / "merged", REGISTRY)
    same(read(tmp_path / "merged", registry=REGISTRY), read(tmp_path / "alone", registry=REGISTRY))
    assert alone.rows == len(read(tmp_path / "alone", registry=REGISTRY)) == 2 * 300 * 20
    assert run(mapping, tmp_path / "merged", registry=REGISTRY).chunks == 0
    assert verify(tmp_path / "merged", registry=REGISTRY).problems == ()
    wide = many(400)
    run(wide, tmp_path / "wide", registry=REGISTRY)
    assert len(read(tmp_path / "wide", registry=REGISTRY)) == 2 * 4 * 400
    assert verify(tmp_path / "wide", registry=REGISTRY).problems == ()
    assert outlook(wide, tmp_path / "wide", REGISTRY).left == 0


# --- intervals and labels -------------------------------------------------------------------------------------------


def by_hand(k, n):
    """The t-interval of a ratio over realisations, and what stands for it where all rates are the same."""
    rates = k[n > 0] / n[n > 0]
    if not rates.size:
        return np.nan, np.nan
    if rates.size == 1 and 0 < rates[0] < 1:
        return 0.0, 1.0
    if np.ptp(rates) == 0:
        x, m = rates[0] * rates.size, rates.size
        return (
            0.0 if x == 0 else stats.beta.ppf(0.025, x, m - x + 1),
            1.0 if x == m else stats.beta.ppf(0.975, x + 1, m - x),
        )
    rate, size = k.sum() / n.sum(), len(k)
    spread = np.sqrt(size / (size - 1) * np.sum((k - rate * n) ** 2)) / n.sum()
    low, high = rate + np.array([-1, 1]) * stats.t.ppf(0.975, size - 1) * spread
    return max(low, 0.0), min(high, 1.0)


@settings(deadline=None)
@given(
    st.tuples(st.integers(0, 6), st.integers(0, 9)).flatmap(
        lambda shape: arrays.arrays(np.int64, (3, *shape), elements=st.integers(0, 3))
    )
)
def test_intervals_of_many_tasks_are_those_of_each(parts):
    successes, undecided, failures = parts
    trials = successes + undecided + failures
    low, high = with_undecided_rows(successes, undecided, trials)
    for row in range(len(successes)):
        one = with_undecided(successes[row], undecided[row], trials[row])
        np.testing.assert_array_equal((low[row], high[row]), one)
        worst, best = (by_hand(k, trials[row]) for k in (successes[row], successes[row] + undecided[row]))
        np.testing.assert_allclose(one, (min(worst[0], best[0]), max(worst[1], best[1])), rtol=1e-12, atol=1e-14)


def test_interval_of_many_realisations_does_not_depend_on_its_neighbours():
    """Bit for bit, with more realisations than NumPy adds in one go."""
    rng = np.random.default_rng(5)
    trials = rng.integers(1, 50, (7, 3000))
    successes = rng.binomial(trials, 0.7)
    low, high = with_undecided_rows(successes, np.zeros_like(trials), trials)
    for row in range(7):
        assert (low[row], high[row]) == over_realisations(successes[row], trials[row])
        np.testing.assert_allclose((low[row], high[row]), by_hand(successes[row], trials[row]), rtol=1e-12)


def test_status_of_all_tasks_is_that_of_each(tmp_path):
    """Tasks with few, many and no realisations; labels and intervals against those of one task."""
    mapping = spec(11, bias=[0.0, 0.2, 0.5, 0.9], sides=[2, 3])
    checked = spec_from_mapping(mapping, REGISTRY)
    tasks = plan_tasks(checked)
    run(mapping, tmp_path, registry=REGISTRY, shard=(2, 5))
    found, frame = status(tmp_path, REGISTRY), read(tmp_path, registry=REGISTRY)
    assert found.tasks["task"].tolist() == labels(checked) == [label(checked, task) for task in tasks]
    assert found.tasks["task_id"].tolist() == list(tasks.names)
    for row in found.tasks.itertuples():
        own = frame[frame["task_id"] == row.task_id].groupby("realisation")[list(COINS.counts)].sum()
        assert row.realisations == len(own)
        due = interval(own.to_numpy()) or (np.nan,) * 3
        np.testing.assert_array_equal((row.rate, row.low, row.high), due)
    assert set(found.tasks["realisations"]) >= {0, 4}
    assert found.left == found.tasks["left"].sum() == 24 - 5
    assert labels(spec_from_mapping(spec(bias=0.5), REGISTRY)) == ["coins"]


def test_intervals_are_computed_in_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 5, 40)
    bounds = np.cumsum([0, *sizes])
    thrown = np.full(bounds[-1], 16)
    heads = rng.integers(0, 17, bounds[-1])
    there = Held(bounds, np.zeros(bounds[-1], int), np.stack([heads, 0 * heads, thrown], axis=1))
    due = intervals(there)
    monkeypatch.setattr("fasthop.sweep.progress._AT_ONCE", 7)
    np.testing.assert_array_equal(intervals(there), due)


# --- summaries ------------------------------------------------------------------------------------------------------

_MEMORY = {"neurons": 12, "rule": ["hebb", "pseudo-inverse"]}
_PATTERNS, _RUN = {"count": [1, 2]}, {"realisations": 2}

#: Two tasks or more of every experiment.
TINY = {
    "capacity": {"memory": _MEMORY, "patterns": _PATTERNS, "cues": {"per_realisation": 3, "flip": 0.2}, "run": _RUN},
    "basins": {"memory": {"weights": [[0.2, -1.5], [-1.5, 0.1]], "bias": [1.0, 0.8], "activation": ["relu", "tanh"]}},
    "ends": {"memory": _MEMORY, "patterns": _PATTERNS, "starts": {"count": 5}, "run": _RUN},
    "radii": {"memory": _MEMORY, "patterns": _PATTERNS, "rays": {"random": 2}, "run": _RUN},
    "slices": {"memory": _MEMORY, "patterns": {"count": 2}, "plane": {"resolution": 32}, "run": _RUN},
    "memories": {"network": {"kind": "goe", "neurons": [4, 5], "radius": 3.0}, "starts": {"count": 5}, "run": _RUN},
    "dead": {"memory": {"neurons": 12, "gain": [2.0, 4.0]}, "patterns": _PATTERNS, "cues": {"per_realisation": 3}},
    "certainty": {"network": {"kind": "goe", "neurons": [4, 5], "radius": 3.0}, "starts": {"count": 5}, "run": _RUN},
    "classification": {"data": {"split": ["stratified", "file-order"]}, "memory": {"hidden": 4}},
    "completion": {"data": {"split": ["stratified", "file-order"]}, "memory": {"hidden": 4}},
}
TINY["basins"] |= {"starts": {"low": -3.0, "high": 3.0, "count": 20}, "run": _RUN}
TINY["dead"] |= {"run": _RUN}
TINY["classification"] |= {"training": {"epochs": 1}, "run": _RUN}
TINY["completion"] |= {"training": {"epochs": 1}, "run": _RUN}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_experiment_sums_up_task_by_task(tmp_path, monkeypatch, name):
    """What an engine that cuts rows between tasks asks of an experiment, bit for bit."""
    run({"experiment": name, **TINY[name]}, tmp_path, progress=False)
    frame = read(tmp_path)
    due = EXPERIMENTS[name].summarise(frame)
    assert frame["task_id"].nunique() > 1
    monkeypatch.setattr(reading, "AT_ONCE", 1)
    same(read(tmp_path, summary=True), due)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("none", [False, True])
def test_capacity_of_tasks_of_any_size_is_that_of_each(share, none):
    """Bit for bit, whatever the order of the rows, with and without retrieved cues; rates against plain pandas."""
    checked = load_spec({"experiment": "capacity", **TINY["capacity"]})
    (task, *_) = plan_tasks(checked)
    one = rows_of(capacity, task.parameters, range(12), 0)
    frame = pd.concat([one.assign(task_id=f"{rank:016x}", flip=rank / 10) for rank in range(9)], ignore_index=True)
    rng = np.random.default_rng(3)
    trials = rng.integers(0, 5, (len(frame), 3))
    frame["retrieved"], frame["unsettled"], frame["cues"] = (
        (1 - none) * trials[:, 0],
        trials[:, 1],
        trials.sum(axis=1) + 1,
    )
    for name in ("sign_overlap_sum", "time_sum", "retrieval_time_sum"):
        frame[name] = rng.random(len(frame))
    frame = frame[rng.random(len(frame)) < share].sample(frac=1.0, random_state=1)
    summary = EXPERIMENTS["capacity"].summarise(frame)
    parts = [EXPERIMENTS["capacity"].summarise(own) for _, own in frame.groupby("task_id", sort=False)]
    same(summary, pd.concat(parts, ignore_index=True))
    sums = frame.groupby("task_id", sort=False)[["retrieved", "unsettled", "cues", "sign_overlap_sum"]].sum()
    assert summary["retrieved"].tolist() == (sums["retrieved"] / sums["cues"]).tolist()
    due = (sums["sign_overlap_sum"] / sums["retrieved"]).replace(np.inf, np.nan)
    np.testing.assert_allclose(summary["sign_overlap"], due, rtol=1e-14)
    for (_, own), row in zip(frame.groupby("task_id", sort=False), summary.itertuples(), strict=True):
        ends = with_undecided(own["retrieved"], own["unsettled"], own["cues"])
        np.testing.assert_array_equal((row.retrieved_low, row.retrieved_high), ends)


@pytest.mark.parametrize("at_once", [1, 7, 20, 10**6])
def test_summary_of_some_tasks_at_a_time_is_that_of_all(tmp_path, monkeypatch, at_once):
    """Bit for bit, also where files hold a little of every task, and where a realisation lies in two of them."""
    mapping = spec(9, bias=[0.1, 0.4, 0.7], sides=[2, 6])
    for number in (1, 2, 3):
        run(mapping, tmp_path / "out", registry=REGISTRY, shard=(number, 3))
    run(spec(2, bias=[0.1, 0.4, 0.7], sides=[2, 6]), tmp_path / "twice", registry=REGISTRY)
    for path in (tmp_path / "twice" / "tables").iterdir():
        path.rename(tmp_path / "out" / "tables" / path.name)
    due = COINS.summarise(read(tmp_path / "out", registry=REGISTRY))
    monkeypatch.setattr(reading, "AT_ONCE", at_once)
    monkeypatch.setattr(indices, "_KEPT", 2000)
    same(read(tmp_path / "out", summary=True, registry=REGISTRY), due)
    compact(tmp_path / "out", REGISTRY)
    same(read(tmp_path / "out", summary=True, registry=REGISTRY), due)
    same(pd.read_parquet(tmp_path / "out" / "summary.parquet"), due)


# --- what it costs --------------------------------------------------------------------------------------------------


def test_files_are_opened_as_often_for_many_chunks_as_for_few(tmp_path, monkeypatch):
    opened = []

    def counted(inner):
        def call(path, *more, **kinds):
            if not isinstance(path, int) and str(tmp_path) in os.fsdecode(path):
                opened.append(path)
            return inner(path, *more, **kinds)

        return call

    for name in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(store, "FLUSH_SECONDS", 1e9)

    def opens(tasks):
        folder, mapping = tmp_path / str(tasks), many(tasks)
        for command in (
            lambda: run(mapping, folder, registry=REGISTRY),
            lambda: status(folder, REGISTRY),
            lambda: run(mapping, folder, registry=REGISTRY),
            lambda: read(folder, registry=REGISTRY),
            lambda: read(folder, summary=True, registry=REGISTRY),
            lambda: verify(folder, registry=REGISTRY),
            lambda: compact(folder, REGISTRY),
        ):
            opened.clear()
            command()
            yield len(opened)

    few, more = list(opens(100)), list(opens(2000))
    assert few == more
    assert 0 < min(few) <= max(few) < 200


def bytes_of(tasks, action):
    """The most that an action holds, by the task."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / tasks
    finally:
        tracemalloc.stop()


def test_memory_by_the_task_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr("fasthop.sweep.run.TIMING_SECONDS", 0.2)
    tasks = 4000
    mapping = many(tasks, realisations=1)
    checked = spec_from_mapping(mapping, REGISTRY)
    assert bytes_of(tasks, lambda: Agenda(checked, plan_tasks(checked))) < 120
    outlook(mapping, registry=REGISTRY, timed=True)
    assert bytes_of(tasks, lambda: outlook(checked, registry=REGISTRY, timed=True)) < 400
    run(mapping, tmp_path, registry=REGISTRY)
    status(tmp_path, REGISTRY)
    assert bytes_of(tasks, lambda: status(tmp_path, REGISTRY)) < 1200


def test_tasks_that_are_done_are_let_go():
    checked = spec_from_mapping(many(500), REGISTRY)
    agenda = Agenda(checked, plan_tasks(checked))
    most = 0
    for result in here(checked, agenda):
        counts = agenda.counts(result.chunk.task)
        assert agenda.take(result) == [result]
        assert len(counts()) == 4
        most = max(most, len(agenda._begun))
    assert (agenda.left, most) == (0, 0)
