"""The columns that say what a task is: all of its fields, once, as the spec has them."""

import tomllib
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fasthop.experiments import EXPERIMENTS
from fasthop.experiments.experiment import REQUIRED, tasks_of, varying
from fasthop.sweep.columns import IDENTITY, make_table, table_schema
from fasthop.sweep.plan import plan_tasks
from fasthop.sweep.spec import load_spec

SPECS = sorted((Path(__file__).resolve().parents[2] / "data" / "specs").glob("*.toml"))
NOTHING = {bool: False, float: 0.0, int: 0, list: [], str: ""}

#: Values of a measured column, by its type, of one row.
SOME = {"bool": [True], "double": [0.5], "int64": [3], "string": ["word"]}


def some(kind):
    """One row of what an experiment could have measured."""
    types = {field.name: field.type for field in kind.schema}
    return {name: SOME.get(str(types[name]), [[1]]) for name in kind.measured} | {"realisation": [0]}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_column_is_stated_once(name):
    kind = EXPERIMENTS[name]
    names = [column for field in kind.fields if field.shown is None for column in field.columns.kinds]
    assert len(kind.schema.names) == len(set(kind.schema.names)) == len(kind.parameters) + len(kind.measured)
    assert kind.schema.names == [*kind.parameters, *kind.measured]
    assert table_schema(kind).names == [*IDENTITY.names, *kind.schema.names]
    # A field that the table does not have under its own name says so.
    assert set(names) <= set(kind.schema.names)
    assert {field.column for field in kind.shown or kind.fields} == {field.column for field in kind.fields}
    assert "realisations" not in kind.parameters
    assert "realisation" in kind.measured
    assert not any(field.nullable for field in kind.schema)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_parameters_are_those_of_the_spec(path):
    """Two values of every field that is swept; the engine writes them beside whatever is measured."""
    spec = load_spec(tomllib.loads(path.read_text(encoding="utf-8")))
    kind, tasks = spec.experiment, plan_tasks(spec)
    for task in (tasks[0], tasks[-1]):
        given = task.parameters
        table = make_table(spec, task, [0], some(kind), "none")
        assert table.schema.equals(table_schema(kind))
        [row] = table.to_pylist()
        for field in kind.fields:
            if field.shown is None and field.column not in kind.measured:
                due = given[field.column]
                assert row[field.column] == (NOTHING[field.kind] if due is None else due), field.column
                assert type(row[field.column]) is field.kind
        if given.get("activation") is not None and isinstance(given["activation"], dict):
            assert row["activation"] == given["activation"]["name"]
        if "load" in kind.parameters:
            assert Fraction(row["load"]) == Fraction(row["patterns"] / row["neurons"])
            if given["patterns"] is not None:
                assert row["patterns"] == given["patterns"]
            elif given["load"] is not None:
                assert row["patterns"] == round(given["load"] * row["neurons"])
            if given["neurons"] is not None:
                assert row["neurons"] == given["neurons"]
        if kind.name == "basins":
            assert row["neurons"] == len(given["weights"])


def test_what_is_not_given_is_nothing_of_its_type():
    kind = EXPERIMENTS["memories"]
    task = {field.column: None if field.default in (None, REQUIRED) else field.default for field in kind.fields}
    values = kind.values(task | {"network": "goe", "neurons": 5})
    assert (values["radius"], values["part"], values["edges"]) == (0.0, 0, 0.0)
    assert [type(values[name]) for name in ("radius", "part", "edges")] == [float, int, float]


def test_an_experiment_measures_no_parameter():
    kind = EXPERIMENTS["memories"]
    assert "starts" in kind.measured
    assert "starts" not in kind.parameters  # a field that is measured has no other column
    assert kind.schema.field("starts").type == pa.int64()


def test_tasks_are_told_apart_by_name_or_by_parameters():
    frame = pd.DataFrame({"task_id": ["a", "b", "a"], "size": [1, 1, 1], "hits": [1, 2, 3]})
    assert [(task, list(rows["hits"])) for task, rows in tasks_of(frame, ["size"])] == [
        ({"task_id": "a", "size": 1}, [1, 3]),
        ({"task_id": "b", "size": 1}, [2]),
    ]
    unnamed = frame.drop(columns="task_id")
    assert [(task, list(rows["hits"])) for task, rows in tasks_of(unnamed, ["size"])] == [({"size": 1}, [1, 2, 3])]
    assert varying(frame, ["size", "hits", "task_id"], but=("hits",)) == ["task_id"]
