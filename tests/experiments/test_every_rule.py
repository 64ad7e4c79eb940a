"""Every rule that a spec can name, and every kind of pattern: what is stored is what NumPy stores, and is recalled."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import capacity, stored
from fasthop.storage import inputs

N, P, SEED = 60, 3, 4


def off_diagonal(W):
    return W * (1 - np.eye(len(W)))


def storkey(xi):
    W, n = np.zeros((N, N)), range(N)
    for row in xi:
        h = np.array([[W[i] @ row - W[i, i] * row[i] - (i != j) * W[i, j] * row[j] for j in n] for i in n])
        W = W + (np.outer(row, row) - row[:, None] * h.T - h * row[None, :]) / N
    return off_diagonal(W)


def bipartite(xi):
    p, n = xi.shape
    return np.block([[np.zeros((n, n)), xi.T], [xi, np.zeros((p, p))]])


#: What a spec says beside the rule, and W of patterns, shape (P, N), or what must hold of it.
RULES = {
    "hebb": ({}, lambda xi: off_diagonal(xi.T @ xi / N)),
    "pseudo-inverse": ({}, lambda xi: off_diagonal(np.linalg.pinv(xi) @ xi)),
    "storkey": ({}, storkey),
    "covariance": ({}, lambda xi: off_diagonal(xi.T @ xi / N)),
    "maximal-stability": ({}, None),
    "file": ({"weights_file": "W.npy"}, lambda xi: off_diagonal(xi.T @ xi / N)),
    "dense": ({"power": 3}, bipartite),
    "exponential": (
        {"neurons": 12, "flip": 0.0},
        bipartite,
    ),  # e^N is beyond what a trajectory may reach for N above 20
    "softmax": ({}, bipartite),
}

KINDS = {
    "random": {},
    "correlated": {"correlation": 0.2},
    "spherical": {"rule": "softmax", "activation": {"name": "identity"}},
    "digit-means": {"rule": "pseudo-inverse", "patterns": None, "neurons": 64},
    "digit-images": {"rule": "pseudo-inverse", "neurons": 64},
    "file": {"pattern_file": "xi.npy"},
}


def task(**changes):
    given = {field.column: field.default for field in capacity.FIELDS}
    given |= {"neurons": N, "patterns": P, "cues": 6, "flip": 0.05} | changes
    assert capacity.problems(given) == []
    return given


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_stores_what_numpy_stores_and_recalls_it(rule, tmp_path):
    changes, make = RULES[rule]
    xi = fh.random_patterns(P, changes.get("neurons", N), seed=SEED, realisations=[0])[0]
    np.save(tmp_path / "W.npy", xi.T @ xi / N)
    files = {key: inputs.named(str(tmp_path / value)) for key, value in changes.items() if key == "weights_file"}
    chosen = task(rule=rule, **changes | files)
    kept = stored.store(chosen, [0], SEED)
    np.testing.assert_array_equal(kept.patterns[0], xi)
    W = kept.memory.weights.to_dense()[0]
    if make is None:  # the smallest ξ_i (w·ξ) is 1 for every neuron
        np.testing.assert_allclose((xi * (xi @ W.T)).min(axis=0), 1, atol=1e-9)
    else:
        np.testing.assert_allclose(W / np.abs(W).max(), make(xi) / np.abs(make(xi)).max(), atol=1e-13)
    row = pd.DataFrame(capacity.rows(chosen, [0], SEED)).iloc[0]
    assert row["retrieved"] == row["discrete"] == row["cues"] == 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pattern_is_stored(kind, tmp_path):
    np.save(tmp_path / "xi.npy", fh.random_patterns(P, N, seed=9))
    changes = KINDS[kind]
    files = {key: inputs.named(str(tmp_path / value)) for key, value in changes.items() if key == "pattern_file"}
    chosen = task(pattern_kind=kind, **changes | files)
    xi = stored.draw_patterns(chosen, [0, 1], SEED)
    assert xi.shape == (2, *stored.size_of(chosen)[::-1])
    np.testing.assert_allclose((xi * xi).sum(axis=2), xi.shape[2], rtol=1e-12)
    np.testing.assert_array_equal(stored.store(chosen, [0, 1], SEED).patterns, xi)
