"""The columns that are documented are those that are written."""

import re
from pathlib import Path

import pytest

from fasthop.experiments import EXPERIMENTS
from fasthop.sweep.columns import IDENTITY
from fasthop.sweep.plan import SCHEMA_VERSION

TEXT = (Path(__file__).resolve().parents[2] / "data" / "columns.md").read_text(encoding="utf-8")
SECTIONS = {part.split(":")[0]: part for part in TEXT.split("\n## ")[1:]}


def documented(section):
    """Columns and types of a section; every one has a meaning."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (\S[^|]*) \|$", SECTIONS[section], re.MULTILINE)
    assert len(rows) == SECTIONS[section].count("\n| `")
    return [(name, kind) for name, kind, _ in rows]


def columns(schema):
    return [(field.name, str(field.type)) for field in schema]


def test_version_is_the_documented_one():
    assert f"Schema version {SCHEMA_VERSION}." in TEXT
    assert len(SECTIONS) == 1 + len(EXPERIMENTS)


def test_columns_of_every_table():
    assert documented("Every experiment") == columns(IDENTITY)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_columns_of_an_experiment(name):
    assert documented(name) == columns(EXPERIMENTS[name].schema)
    assert documented(name)[:-1] != columns(EXPERIMENTS[name].schema)
