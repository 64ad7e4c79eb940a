"""Capacity against gain: limits of made-up tables whose limits are known, and the picture."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

import fasthop as fh
from fasthop.experiments.capacity import PARAMETERS


def made_up(gains, sizes, *, excess=2.0, realisations=30, seed=0):
    """Rows whose share retrieved is a logistic curve around α_c(β) (1 + 5 excess N^{−2/3}), β = ∞ for `discrete`."""
    rng = np.random.default_rng(seed)
    rows = []
    for beta in gains:
        for n in sizes:
            half, sharp = (fh.theory.hebb_capacity(gain) * (1 + excess * n ** (-2 / 3) * 5) for gain in (beta, np.inf))
            for load in half * np.linspace(0.8, 1.2, 9):
                rate, discrete = (special.expit((middle - load) / (0.05 * middle)) for middle in (half, sharp))
                for r in range(realisations):
                    task = {"neurons": n, "patterns": round(load * n), "load": load, "beta": beta, "realisation": r}
                    counts = {"retrieved": rng.binomial(100, rate), "discrete": rng.binomial(100, discrete)}
                    rows.append(task | {"cues": 100} | counts)
    constant = {name: 0 for name in PARAMETERS if name not in rows[0]}
    return pd.DataFrame(rows).assign(**constant)


@pytest.mark.slow
def test_limits_enclose_what_the_table_was_made_of(tmp_path):
    sizes, gains = fh.analysis.capacity_by_gain(made_up([2.0, 8.0, 32.0], [200, 400, 800]), draws=100)
    assert len(sizes) == 12
    assert gains["beta"].tolist() == [2, 8, 32, np.inf]
    for row in gains.itertuples():
        assert row.theory == fh.theory.hebb_capacity(row.beta)
        assert row.limit_low < row.theory < row.limit_high
        assert row.limit == pytest.approx(row.theory, rel=0.02)
        assert row.limit_high - row.limit_low < 0.15 * row.theory
    fh.analysis.plot_capacity_by_gain(sizes, gains, tmp_path / "gains.png")
    assert (tmp_path / "gains.png").read_bytes().startswith(b"\x89PNG")


def test_an_excess_that_stays_is_seen():
    frame = made_up([8.0], [200, 400, 800], excess=0.0)
    frame["load"] *= 1.1
    _, gains = fh.analysis.capacity_by_gain(frame, draws=100)
    assert gains["limit_low"][0] > gains["theory"][0]


def test_the_discrete_rule_is_there_for_the_overlap_alone():
    frame = made_up([8.0], [200, 400, 800]).assign(exact=lambda table: table["retrieved"])
    _, gains = fh.analysis.capacity_by_gain(frame, "exact", draws=20)
    assert gains["beta"].tolist() == [8]


def test_loads_of_low_gains_alone_say_nothing_of_the_discrete_rule():
    sizes, gains = fh.analysis.capacity_by_gain(made_up([1.5, 2.0], [200, 400, 800]), draws=20)
    assert gains["beta"].tolist() == [1.5, 2]
    assert sizes["beta"].unique().tolist() == [1.5, 2]


def test_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"at least three sizes.*beta = 8; got N = 200, 400"):
        fh.analysis.capacity_by_gain(made_up([8.0], [200, 400]), draws=20)
