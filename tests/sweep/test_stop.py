"""Enough realisations: the rule, its place in a spec, and that its answer does not depend on the way to it."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthop.sweep.errors import SpecError
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import Shard, plan_tasks
from fasthop.sweep.read import read
from fasthop.sweep.run import here, run, table
from fasthop.sweep.spec import spec_from_mapping, spec_from_text
from fasthop.sweep.stop import Stop
from sweep.coins import COINS, REGISTRY, spec

RULE = {"half_width": 0.05, "min": 8, "max": 200}


def adaptive(rule=RULE, **coin):
    mapping = spec(**{"bias": [0.02, 0.5, 0.9], **coin})
    return {**mapping, "run": {"stop": rule}}


def realisations(frame):
    return frame.groupby("bias", sort=False)["realisation"].nunique().to_dict()


# --- the rule -------------------------------------------------------------------------------------------------------


def counts(successes, undecided=0, trials=10):
    return np.stack(np.broadcast_arrays(successes, undecided, trials), axis=1)


def test_never_before_the_minimum():
    rule = Stop(5, 100, half_width=0.5, failures=1)
    assert not rule.met(counts([0, 1, 2, 3]))
    assert rule.met(counts([0, 1, 2, 3, 4]))


def test_failures_without_the_undecided():
    rule = Stop(2, 100, failures=10)
    assert rule.met(counts([5, 5]))
    assert not rule.met(counts([5, 5], undecided=[0, 1]))


def test_half_width_of_the_interval_over_realisations():
    # By hand: rates .4 and .6, mean .5, standard error .1, t = 12.706; cut to [0, 1], half of it is .5.
    assert Stop(2, 9, half_width=0.5).met(counts([4, 6]))
    assert not Stop(2, 9, half_width=0.499).met(counts([4, 6]))
    half = 2.093024 * np.std([4, 6], ddof=0) / 10 * np.sqrt(20 / 19) / np.sqrt(20)
    assert Stop(2, 99, half_width=half * 1.0001).met(counts([4, 6] * 10))
    assert not Stop(2, 99, half_width=half * 0.9999).met(counts([4, 6] * 10))


def test_undecided_trials_count_as_either():
    assert Stop(2, 99, half_width=0.05).met(counts([4, 6] * 10))
    assert not Stop(2, 99, half_width=0.05).met(counts([4, 6] * 10, undecided=2))


def test_no_failure_at_all_is_not_certainty():
    assert not Stop(2, 999, half_width=0.01).met(counts([10] * 20))


# --- in a spec ------------------------------------------------------------------------------------------------------


def test_rule_takes_the_place_of_the_number():
    read_ = spec_from_text('experiment = "coins"\n[coin]\nbias=0.5\n[run]\nstop={failures=3,min=4,max=9}', REGISTRY)
    assert (read_.stop, read_.realisations) == (Stop(4, 9, failures=3), 9)
    assert read_.to_mapping()["run"] == {"stop": {"failures": 3, "min": 4, "max": 9}, "tosses": 16}
    assert spec_from_mapping(read_.to_mapping(), REGISTRY, read_.source) == read_


def test_rule_is_no_part_of_a_task():
    by_rule, by_number = (
        plan_tasks(spec_from_mapping(one, REGISTRY)) for one in (adaptive(), spec(bias=[0.02, 0.5, 0.9]))
    )
    assert [task.task_id for task in by_rule] == [task.task_id for task in by_number]


@pytest.mark.parametrize(
    ("section", "sentences"),
    [
        ({"stop": RULE, "realisations": 5}, ["run.stop and run.realisations exclude each other; got both."]),
        ({"stop": 3}, ["run.stop must be a table { half_width = …, failures = …, min = …, max = … }, of half_width"]),
        ({"stop": {"min": 2, "max": 3}}, ["run.stop must have half_width or failures, or both."]),
        (
            {"stop": {"halfwidth": 0.1, "min": 1}},
            [
                "run.stop.halfwidth is no key of a rule; did you mean run.stop.half_width?",
                "run.stop must have half_width or failures, or both.",
                "run.stop.max is missing; it must be a whole number of at least 2.",
                "run.stop.min must be a whole number of at least 2; got 1.",
            ],
        ),
        (
            {"stop": {**RULE, "half_width": 0}},
            ["run.stop.half_width must be a finite number from 1e-06 to 0.5; got 0."],
        ),
        ({"stop": {**RULE, "max": 7}}, ["run.stop.max must be at least 8, the min; got 7."]),
        ({"stopp": RULE, "realisations": 5}, ["run.stopp is no key of this experiment; did you mean run.stop?"]),
    ],
)
def test_impossible_rules(section, sentences):
    with pytest.raises(SpecError) as caught:
        spec_from_mapping({**spec(), "run": section}, REGISTRY)
    assert len(caught.value.problems) == len(sentences)
    for problem, sentence in zip(caught.value.problems, sentences, strict=True):
        assert problem.startswith(sentence)


def test_experiment_without_a_rate_has_no_rule():
    registry = {"coins": COINS._replace(counts=None)}
    with pytest.raises(SpecError, match=r"run\.stop is no key of coins, whose trials are independent"):
        spec_from_mapping(adaptive(), registry)


# --- in a run -------------------------------------------------------------------------------------------------------


def stopped_by_hand(bias):
    """The realisations that the rule needs, with the interval by SciPy on whole chunks of four."""
    from scipy import stats

    task = {**plan_tasks(spec_from_mapping(adaptive(), REGISTRY))[0].parameters, "bias": bias}
    heads = np.array(COINS.rows(task, range(200), 7)["heads"])[1::2] / 16
    for count in range(8, 200, 4):
        some = heads[:count]
        if np.ptp(some) == 0:
            continue  # none of these coins: conservative, wider than the rule
        low, high = stats.t.interval(0.95, count - 1, some.mean(), stats.sem(some))
        if (min(high, 1) - max(low, 0)) / 2 <= 0.05:
            return count
    return 200


def test_each_task_has_what_the_rule_needs_and_no_more(tmp_path):
    report = run(adaptive(), tmp_path, registry=REGISTRY)
    found = realisations(read(tmp_path))
    assert found == {bias: stopped_by_hand(bias) for bias in (0.02, 0.5, 0.9)}
    assert len(set(found.values())) > 1
    assert report.chunks == sum(found.values()) // 4
    assert run(adaptive(), tmp_path, registry=REGISTRY).chunks == 0
    pd.testing.assert_frame_equal(table(adaptive(), REGISTRY), read(tmp_path), check_exact=True)


def test_maximum_ends_a_task(tmp_path):
    run(adaptive({"half_width": 1e-6, "min": 2, "max": 10}), tmp_path, registry=REGISTRY)
    assert set(realisations(read(tmp_path)).values()) == {10}


def test_shards_have_whole_tasks(tmp_path):
    whole = table(adaptive(), REGISTRY)
    for number in (1, 2):
        run(adaptive(), tmp_path / str(number), registry=REGISTRY, shard=(number, 2))
    assert set(realisations(read(tmp_path / "1"))) == {0.02, 0.9}
    assert realisations(read(tmp_path / "1")) | realisations(read(tmp_path / "2")) == realisations(whole)


@settings(max_examples=40, deadline=None)
@given(order=st.randoms(use_true_random=False), ahead=st.integers(1, 30), there=st.integers(0, 30))
def test_what_counts_does_not_depend_on_who_was_first(order, ahead, there):
    """Several chunks under way that come back in any order, some of them computed by an earlier run."""
    from fasthop.sweep.index import Held

    checked = spec_from_mapping(adaptive(), REGISTRY)
    tasks = plan_tasks(checked)
    alone = Agenda(checked, tasks)
    expected = [counted.chunk.id for result in here(checked, alone) for counted in alone.take(result)]
    assert alone.left == 0

    first = tasks[0]
    rows = COINS.rows(first.parameters, range(there), 7)
    known = np.stack([np.array(rows[name])[1::2] for name in COINS.counts], axis=1)
    bounds = np.array([0, *[there] * len(tasks)])
    agenda = Agenda(checked, tasks, Held(bounds, np.arange(there), known))
    chunks, under_way, counted = iter(agenda), [], []
    while True:
        under_way += itertools.islice(chunks, ahead - len(under_way))
        if not under_way:
            break
        order.shuffle(under_way)
        (result,) = here(checked, [under_way.pop()])
        counted += agenda.take(result)
    ids = [one.chunk.id for one in counted]
    assert sorted(ids) == sorted(set(ids))
    complete = [f"{first.task_id}-{part}" for part in range(there // 4)]
    assert set(ids) == set(expected) - set(complete)
    assert agenda.left == 0


def test_nothing_counts_beyond_a_gap():
    checked = spec_from_mapping(adaptive(), REGISTRY)
    agenda = Agenda(checked, plan_tasks(checked))
    results = list(here(checked, [chunk for chunk in Agenda(checked, plan_tasks(checked)) if chunk.part != 3]))
    random.Random(0).shuffle(results)
    assert all(one.chunk.part < 3 for result in results for one in agenda.take(result))
    assert agenda.left > 0


def test_shard_divides_everything_once():
    parts = [Shard(number, 3) for number in (1, 2, 3)]
    assert [[part.has(place) for part in parts].count(True) for place in range(10)] == [1] * 10
