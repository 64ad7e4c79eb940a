"""The shipped results are those that the specs give: a small part of each is computed again."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import ends, radii, slices
from fasthop.sweep.run import table

DATA = Path(__file__).resolve().parents[2] / "data"

#: Tasks of the tables that are cheap, and around which the rates are neither 0 nor 1.
PARTS = {
    "pseudo_inverse": [
        {"self_coupling": False, "load": 0.7, "flip": 0.1},
        {"self_coupling": True, "load": 0.5, "flip": 0.1},
    ],
    "pseudo_inverse_gain": [{"beta": 50.0, "load": 0.95}],
    "hebb_sizes": [{"neurons": 200, "load": 0.15}, {"neurons": 200, "load": 0.19}],
    "dense": [{"neurons": 32, "patterns": 82}, {"neurons": 64, "patterns": 287}],
    "synapses": [{"dilution": 0.5, "levels": 2, "load": 0.075}, {"dilution": 0.0, "levels": 3, "load": 0.135}],
    "asymmetric": [{"asymmetry": 0.5, "load": 0.1}],
    "sparse": [{"threshold": 0.0, "bias": -0.6, "load": 0.25}, {"threshold": 0.3, "bias": -0.8, "load": 0.4}],
    "annealing": [{"anneal_from": 0.0, "flip": 0.2, "load": 0.16}, {"anneal_from": 4.0, "flip": 0.2, "load": 0.14}],
    "softmax": [{"memory_gain": 0.2, "patterns": 10}],
    "dense_flips": [
        {"power": 3, "rectified": True, "flip": 0.1, "patterns": 128},
        {"power": 4, "rectified": False, "flip": 0.1, "patterns": 256},
    ],
    "hebb_gains": [{"neurons": 200, "beta": 2.0, "patterns": 16}, {"neurons": 400, "beta": 32.0, "patterns": 69}],
}

#: Where a column of a table stands in a spec.
PLACES = {
    **dict.fromkeys(("neurons", "self_coupling", "power", "rectified", "memory_gain"), "memory"),
    **dict.fromkeys(("dilution", "asymmetry", "levels", "threshold"), "memory"),
    **dict.fromkeys(("load", "patterns", "bias"), "patterns"),
    "flip": "cues",
    "anneal_from": "run",
}


def again(name, part):
    """Eight realisations of one task of a spec, with a seed of their own."""
    spec = tomllib.loads((DATA / "specs" / f"{name}.toml").read_text(encoding="utf-8"))
    spec |= {"seed": 99, "run": {**spec["run"], "realisations": 8}}
    for key in ("load", "relative_load", "count"):
        spec["patterns"].pop(key, None)
    for column, value in part.items():
        if column == "beta":
            spec["memory"]["activation"] = {"name": "tanh", "beta": value}
        else:
            spec[PLACES[column]]["count" if column == "patterns" else column] = value
    return fh.capacity(**{key: value for key, value in spec.items() if key != "experiment"})


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_the_table_comes_out_again(name):
    reference = pd.read_parquet(DATA / "reference" / f"{name}.parquet")
    for part in PARTS[name]:
        same = np.logical_and.reduce([np.isclose(reference[key], value) for key, value in part.items()])
        row = reference[same].to_dict("records")[0]  # two relative loads may be the same patterns
        rows = again(name, part)
        rates = rows["retrieved"] / rows["cues"]
        error = np.hypot(rates.std(ddof=1) / np.sqrt(len(rates)), (row["retrieved_high"] - row["retrieved_low"]) / 4)
        assert rates.mean() == pytest.approx(row["retrieved"], abs=4 * error)
        assert 0.02 < row["retrieved"] < 0.98


def test_halves_and_what_is_said_of_them():
    names = ("hebb_sizes_half", "hebb_large_half", "hebb_sizes_discrete_half")
    sizes = pd.concat([pd.read_parquet(DATA / "reference" / f"{name}.parquet") for name in names])
    text = (DATA / "reference" / "README.md").read_text(encoding="utf-8")
    for row in sizes.itertuples():
        assert f"{row.half:.4f}"[1:] in text
    gains = pd.read_parquet(DATA / "reference" / "hebb_gains_half.parquet")
    for row in gains.itertuples():
        theory = fh.theory.hebb_capacity(row.beta)
        assert f"{row.half:.3f}"[1:] in text
        assert f"{theory:.3f}"[1:] in text
        assert theory < row.half


def test_dense_memories_hold_nearly_what_the_discrete_rule_holds():
    """About .087 N² patterns at every size, by both."""
    graded, discrete = (pd.read_parquet(DATA / "reference" / f"dense{name}_half.parquet") for name in ("", "_discrete"))
    text = (DATA / "reference" / "README.md").read_text(encoding="utf-8")
    assert graded["neurons"].tolist() == discrete["neurons"].tolist() == [32, 64, 128]
    for ours, theirs in zip(graded.itertuples(), discrete.itertuples(), strict=True):
        assert ours.half / ours.neurons == pytest.approx(0.087, abs=0.006)
        assert ours.half == pytest.approx(theirs.half, rel=0.05)
        for row in (ours, theirs):
            assert f"{row.half / row.neurons:.4f}"[1:] in text


def test_retrieved_patterns_overlap_as_the_theory_says():
    found = pd.read_parquet(DATA / "reference" / "hebb_overlaps.parquet")
    assert sorted(set(found["neurons"])) == [800, 1600]
    for row in found.itertuples():
        assert row.sign_overlap == pytest.approx(fh.theory.hebb_retrieval(row.load, 8.0).sign_overlap, abs=0.0015)


def test_worn_synapses_lose_what_the_theory_says():
    """Ratios of capacities, in which most of what N is missing to infinity cancels."""
    halves = pd.read_parquet(DATA / "reference" / "synapses_half.parquet").set_index(["dilution", "levels"])["half"]
    for dilution in (0.0, 0.25, 0.5):
        for levels in (0, 2, 3):
            due = fh.theory.hebb_capacity(
                8.0, fh.theory.wear(dilution=dilution, levels=levels)
            ) / fh.theory.hebb_capacity(8.0)
            assert halves[dilution, levels] / halves[0.0, 0] == pytest.approx(due, abs=0.06)
    one_way = pd.read_parquet(DATA / "reference" / "asymmetric_half.parquet").set_index("asymmetry")["half"]
    for asymmetry in (0.25, 0.5):
        due = fh.theory.hebb_capacity(8.0, fh.theory.wear(asymmetry=asymmetry)) / fh.theory.hebb_capacity(8.0)
        assert one_way[asymmetry] / one_way[0.0] == pytest.approx(due, abs=0.03)


def test_a_part_of_the_census_comes_out_again():
    spec = tomllib.loads((DATA / "specs" / "ends.toml").read_text(encoding="utf-8"))
    spec |= {"seed": 99, "patterns": {"count": 5}, "run": {"realisations": 4}}
    spec["starts"]["count"] = 500
    found = ends.summarise(table(spec)).set_index("kind")
    due = pd.read_parquet(DATA / "reference" / "ends.parquet").query("patterns == 5").set_index("kind")
    for kind in ("pattern", "inverse", "mixture-3"):
        error = (due.loc[kind, "share_high"] - due.loc[kind, "share_low"]) / 4 + 0.01
        assert found.loc[kind, "share"] == pytest.approx(due.loc[kind, "share"], abs=4 * error)
    # Five patterns, five negatives, and of the 80 mixtures of three those that 500 starts find.
    assert found.loc[["pattern", "inverse"], "distinct"].tolist() == [5, 5]
    assert 20 < found.loc["mixture-3", "distinct"] < due.loc["mixture-3", "distinct"]


def test_a_part_of_the_slices_comes_out_again():
    spec = tomllib.loads((DATA / "specs" / "slices.toml").read_text(encoding="utf-8"))
    spec |= {"seed": 99, "run": {"realisations": 2}}
    spec["memory"]["rule"] = "hebb"
    spec["patterns"]["count"] = 5
    found = slices.summarise(table(spec)).iloc[0]
    due = pd.read_parquet(DATA / "reference" / "slices.parquet").query("rule == 'hebb' and patterns == 5").iloc[0]
    assert found["boundary_entropy"] == pytest.approx(due["boundary_entropy"], abs=0.1)
    assert found["exponent"] == pytest.approx(due["exponent"], abs=0.12)


def test_a_part_of_the_saddles_comes_out_again():
    spec = tomllib.loads((DATA / "specs" / "saddles.toml").read_text(encoding="utf-8"))
    spec |= {"seed": 99, "run": {"realisations": 4}}
    spec["memory"]["rule"] = "hebb"
    spec["patterns"]["count"] = 3
    found = radii.summarise(table(spec)).set_index("direction")
    due = pd.read_parquet(DATA / "reference" / "saddles.parquet").query("rule == 'hebb' and patterns == 3")
    due = due.set_index("direction")
    assert found.loc["saddle", "q50"] == pytest.approx(due.loc["saddle", "q50"], rel=0.15)
    assert found.loc["saddle", "q50"] < found.loc["memory", "q50"]
    assert found.loc["saddle", "count"] == found.loc["saddle", "sought"] == 4 * 2 * 2


def test_a_part_of_the_radii_comes_out_again():
    spec = tomllib.loads((DATA / "specs" / "radii.toml").read_text(encoding="utf-8"))
    spec |= {"seed": 99, "run": {"realisations": 4}, "rays": {"memories": 3, "random": 20, "aimed": 3}}
    spec["memory"]["rule"] = "hebb"
    spec["patterns"]["count"] = 3
    found = radii.summarise(table(spec)).set_index("direction")
    due = pd.read_parquet(DATA / "reference" / "radii.parquet").query("rule == 'hebb' and patterns == 3")
    due = due.set_index("direction")
    error = (due.loc["random", "censored_high"] - due.loc["random", "censored_low"]) / 4
    assert found.loc["random", "censored"] == pytest.approx(due.loc["random", "censored"], abs=5 * error)
    assert found.loc["random", "q10"] == pytest.approx(due.loc["random", "q10"], rel=0.2)
    assert found.loc["memory", "q50"] == pytest.approx(due.loc["memory", "q50"], rel=0.1)
    assert found["verified"].tolist() == [1, 1]
