"""The shipped results are those that the specs give: a small part of each is computed again."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fasthop as fh

DATA = Path(__file__).resolve().parents[2] / "data"

#: Tasks of the tables that are cheap, and around which the rates are neither 0 nor 1.
PARTS = {
    "pseudo_inverse": [
        {"self_coupling": False, "load": 0.7, "flip": 0.1},
        {"self_coupling": True, "load": 0.5, "flip": 0.1},
    ],
    "hebb_sizes": [{"neurons": 200, "load": 0.15}, {"neurons": 200, "load": 0.19}],
    "hebb_gains": [{"beta": 2.0, "load": 0.07}, {"beta": 32.0, "load": 0.17}],
}


def again(name, part):
    """Eight realisations of one task of a spec, with a seed of their own."""
    spec = tomllib.loads((DATA / "specs" / f"{name}.toml").read_text(encoding="utf-8"))
    spec["seed"] = 99
    memory = spec["memory"]
    for key in ("neurons", "self_coupling"):
        memory[key] = part.get(key, memory.get(key))
    memory = {key: value for key, value in memory.items() if value is not None}
    memory["activation"] = {"name": "tanh", "beta": part.get("beta", 8.0)}
    spec |= {"memory": memory, "patterns": {"load": part["load"]}, "run": spec["run"] | {"realisations": 8}}
    spec["cues"]["flip"] = part.get("flip", 0.0)
    return fh.capacity(**{key: value for key, value in spec.items() if key != "experiment"})


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_the_table_comes_out_again(name):
    table = pd.read_parquet(DATA / "reference" / f"{name}.parquet")
    for part in PARTS[name]:
        same = np.logical_and.reduce([np.isclose(table[key], value) for key, value in part.items()])
        [row] = table[same].to_dict("records")
        rows = again(name, part)
        rates = rows["retrieved"] / rows["cues"]
        error = np.hypot(rates.std(ddof=1) / np.sqrt(len(rates)), (row["retrieved_high"] - row["retrieved_low"]) / 4)
        assert rates.mean() == pytest.approx(row["retrieved"], abs=4 * error)
        assert 0.02 < row["retrieved"] < 0.98


def test_halves_and_what_is_said_of_them():
    sizes = pd.read_parquet(DATA / "reference" / "hebb_sizes_half.parquet")
    text = (DATA / "reference" / "README.md").read_text(encoding="utf-8")
    for row in sizes.itertuples():
        assert f"{row.half:.4f}"[1:] in text
    gains = pd.read_parquet(DATA / "reference" / "hebb_gains_half.parquet")
    for row in gains.itertuples():
        theory = fh.hebb_capacity(row.beta)
        assert f"{row.half:.3f}"[1:] in text
        assert f"{theory:.3f}"[1:] in text
        assert theory < row.half
