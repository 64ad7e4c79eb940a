"""Names of tasks, and how work is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthop.sweep import plan
from fasthop.sweep.index import Held
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import count_chunks, plan_tasks
from fasthop.sweep.spec import spec_from_mapping, spec_from_text
from sweep.coins import REGISTRY, spec


def tasks_of(mapping):
    return plan_tasks(spec_from_mapping(mapping, REGISTRY))


def ids(mapping):
    return [task.task_id for task in tasks_of(mapping)]


def there_of(tasks, finished):
    """What is there, from sets of realisations by task id."""
    own = [sorted(finished.get(name, ())) for name in tasks.names]
    bounds = np.cumsum([0, *map(len, own)])
    return Held(bounds, np.array([one for some in own for one in some], np.int64), np.zeros((bounds[-1], 3), np.int64))


def cut(mapping, finished):
    checked = spec_from_mapping(mapping, REGISTRY)
    tasks = plan_tasks(checked)
    return [
        (chunk.number, list(tasks).index(chunk.task), list(chunk.realisations))
        for chunk in Agenda(checked, tasks, there_of(tasks, finished))
    ]


def test_id_is_frozen():
    """A change here is a change of identity: every sweep that lies on a disk would be computed anew."""
    assert ids(spec(bias=0.5)) == ["f0420bbba051ab3c"]


def test_order_and_spelling_do_not_matter():
    first = """
    experiment = "coins"
    [coin]
    bias = [0, 1]
    shape = { name = "disc", size = 2 }
    [run]
    realisations = 3
    tosses = 8
    """
    second = """
    seed = 0
    experiment = "coins"
    [run]
    tosses = 8
    realisations = 30
    [coin]
    shape = { size = 2.0, name = "disc" }
    bias = { to = 1.0, from = 0.0, by = 1.0 }
    metal = "copper"
    """
    one, two = (plan_tasks(spec_from_text(text, REGISTRY)) for text in (first, second))
    assert [task.task_id for task in one] == [task.task_id for task in two]


def test_everything_else_does_matter(monkeypatch):
    (base,) = ids(spec(bias=0.5))
    others = [
        ids({**spec(bias=0.5), "seed": 8}),
        ids(spec(bias=0.50001)),
        ids(spec(bias=0.5, sides=3)),
        ids(spec(bias=0.5, fair=True)),
        ids(spec(bias=0.5, shape={"name": "disc", "size": 1})),
        ids(spec(bias=0.5, weights=[1])),
    ]
    for version in ("STREAM_VERSION", "KERNEL_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(plan, version, 99)
            others.append(ids(spec(bias=0.5)))
    assert len({base, *(name for (name,) in others)}) == 1 + len(others)


@given(st.integers(-(2**53), 2**53))
def test_one_spelling_for_each_number(number):
    assert plan._canonical({"a": [number, float(number)]}) == {"a": [number, number]}
    assert all(type(value) is int for value in plan._canonical([number, float(number)]))


def test_tasks_come_in_the_order_of_the_fields():
    assert [(task.parameters["bias"], task.parameters["sides"]) for task in tasks_of(spec(sides=[6, 2]))] == [
        (0.2, 6),
        (0.2, 2),
        (0.5, 6),
        (0.5, 2),
    ]


def test_chunks_of_a_new_sweep():
    assert cut(spec(realisations=10), {}) == [
        (0, 0, [0, 1, 2, 3]),
        (1, 0, [4, 5, 6, 7]),
        (2, 0, [8, 9]),
        (3, 1, [0, 1, 2, 3]),
        (4, 1, [4, 5, 6, 7]),
        (5, 1, [8, 9]),
    ]
    assert count_chunks(tasks_of(spec()), 10) == 6


def test_only_what_is_missing_is_computed():
    first, second = ids(spec())
    finished = {first: set(range(10)), second: {0, 2, 4, 5, 6, 7}, "a task of another sweep": {8}}
    assert cut(spec(), finished) == [(3, 1, [1, 3]), (5, 1, [8, 9])]


@pytest.mark.parametrize("realisations", [1, 3, 4, 5, 8, 9])
def test_every_realisation_is_in_one_chunk(realisations):
    chunks = cut(spec(realisations=realisations, bias=0.5), {})
    assert [i for _, _, some in chunks for i in some] == list(range(realisations))
    assert len(chunks) == count_chunks(tasks_of(spec(bias=0.5)), realisations)
