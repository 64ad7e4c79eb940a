"""What dead neurons make of random weights: W⊥, what is left when the directions are removed that g does not see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks, fill
from fasthop.dynamics.ensemble import KINDS, settle
from fasthop.model.memory import Memory
from fasthop.random_matrices.goe import (
    MOST_DRAWS,
    MOST_ROWS,
    batches,
    dense_matrices,
    ends_of_spectra,
    expected_lambda_max,
    expected_norm,
    goe_extremes,
)
from fasthop.runtime import one_blas_thread
from fasthop.statistics import over_realisations
from fasthop_kernels.mathematics import random


def goe_table(ns: Iterable[int], dead_fractions: Iterable[float], draws: int, *, seed: int = 0) -> pd.DataFrame:
    """Return how dead neurons shrink the spectrum: Proposition 3 of arXiv 2410.13866 and its correction.

    Parameters
    ----------
    ns : iterable of int
        1 … 10⁹.
    dead_fractions : iterable of float
        0 or more and below 1; k is the nearest whole number to fraction · n, and at most n − 1.
    draws : int
        At least 2.
    seed : int

    Returns
    -------
    DataFrame
        One row for each n and fraction; `to_parquet` writes it as it is.

        n, k, draws : int64
        dead_fraction : float64
            k/n.
        lambda_max_mean, lambda_max_se, lambda_max_std, norm_mean, norm_se, norm_std : float64
            Of W⊥, n − k rows: mean, its standard error, standard deviation.
        lambda_max_predicted, norm_predicted : float64
            `expected_lambda_max` and `expected_norm`.
        ratio, ratio_se : float64
            E‖W⊥‖/E‖W‖ and its standard error. Both means share their random numbers, which the error allows for.
        ratio_leading, ratio_predicted : float64
            √(1 − k/n), and the ratio of the two predicted norms.

    Raises
    ------
    TypeError, ValueError
        Where a number is not one, or out of its range.

    Notes
    -----
    √(1 − k/n) is too large by O(n^{−2/3}), and by more the smaller n − k is.
    """
    sizes = [checks.whole("ns", n, least=1, most=MOST_ROWS["edge"]) for n in ns]
    fractions = [checks.real("dead_fractions", fraction, least=0) for fraction in dead_fractions]
    for fraction in fractions:
        if fraction >= 1:
            raise ValueError(f"dead_fractions must be below 1; got {fraction:g}.")
    checks.whole("draws", draws, least=2, most=MOST_DRAWS)
    rows = []
    for n in sizes:
        whole = goe_extremes(n, draws, seed=seed)
        for fraction in fractions:
            k = min(round(fraction * n), n - 1)
            part = whole if k == 0 else goe_extremes(n, draws, dead=k, seed=seed)
            ratio, error = ratio_of_means(part.norm, whole.norm)
            rows.append(
                {
                    "n": n,
                    "k": k,
                    "draws": draws,
                    "dead_fraction": k / n,
                    **_summary("lambda_max", part.lambda_max),
                    "lambda_max_predicted": float(expected_lambda_max(n - k)),
                    **_summary("norm", part.norm),
                    "norm_predicted": float(expected_norm(n - k)),
                    "ratio": ratio,
                    "ratio_se": error,
                    "ratio_leading": float(np.sqrt(1 - k / n)),
                    "ratio_predicted": float(expected_norm(n - k) / expected_norm(n)),
                }
            )
    return pd.DataFrame(rows)


def projection_table(n: int, dead: int, draws: int, *, seed: int = 0) -> pd.DataFrame:
    """Return E‖W⊥‖/E‖W‖ with W⊥ formed from dense matrices: without coordinates, and without random directions.

    Both are GOE of n − k rows in law; this shows it, where `goe_extremes` relies on it.

    Parameters
    ----------
    n : int
        2 … 131071.
    dead : int
        k, from 1 to n − 1.
    draws : int
        At least 2.
    seed : int

    Returns
    -------
    DataFrame
        A row for "coordinates" and one for "random": directions (str), n, k, draws (int64), and as in `goe_table`
        lambda_max_mean, lambda_max_se, lambda_max_std, norm_mean, norm_se, norm_std, ratio, ratio_se, ratio_leading and
        ratio_predicted (float64).
    """
    rows = checks.whole("n", n, least=2, most=MOST_ROWS["dense"])
    k = checks.whole("dead", dead, least=1, most=rows - 1)
    count = checks.whole("draws", draws, least=2, most=MOST_DRAWS)
    key = checks.seed("seed", seed)
    whole = np.empty((count, 2))
    parts = {name: np.empty((count, 2)) for name in ("coordinates", "random")}
    with one_blas_thread():
        for first, matrices in batches(key, rows, count):
            draws_here = range(first, first + len(matrices))
            place = slice(draws_here.start, draws_here.stop)
            columns = np.swapaxes(_normals(key, random.DIRECTION, draws_here, k, rows), 1, 2)
            whole[place] = ends_of_spectra(matrices)
            parts["coordinates"][place] = ends_of_spectra(matrices[:, : rows - k, : rows - k])
            parts["random"][place] = ends_of_spectra(_removed(matrices, columns))
    return pd.DataFrame(
        [
            {"directions": name, "n": rows, "k": k, "draws": count} | _compared(part, whole, rows, k)
            for name, part in parts.items()
        ]
    )


def random_directions(n: int, count: int, *, seed: int = 0, draw: int = 0) -> np.ndarray:
    """Return orthonormal columns that span a uniformly random subspace, shape (n, count).

    Parameters
    ----------
    n, count : int
        1 ≤ count ≤ n.
    seed, draw : int
        A draw is another subspace of the same seed.
    """
    rows = checks.whole("n", n, least=1)
    columns = checks.whole("count", count, least=1, most=rows)
    ids = [checks.whole("draw", draw, least=0, most=MOST_DRAWS - 1)]
    numbers = _normals(checks.seed("seed", seed), random.DIRECTION, ids, columns, rows)[0]
    with one_blas_thread():
        return np.asarray(np.linalg.qr(numbers.T)[0])


def remove_directions(W: Any, V: Any) -> np.ndarray:
    """Return W⊥ = V⊥ᵀ W V⊥, with orthonormal columns V⊥ that complement those of V, shape (N − k, N − k).

    Parameters
    ----------
    W : array_like, shape (N, N)
        Symmetric.
    V : array_like, shape (N, k)
        Independent columns, k below N.
    """
    matrix = checks.real_array("W", W, np.float64, shape=("N", "N"))
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"W must be square; got shape {matrix.shape}.")
    columns = checks.real_array("V", V, np.float64, shape=(matrix.shape[0], "k"))
    if columns.shape[1] >= matrix.shape[0]:
        raise ValueError(f"V must have fewer columns than rows; got shape {columns.shape}.")
    with one_blas_thread():
        return _removed(matrix, columns)


def stabilisation_table(
    n: int,
    scales: Iterable[float],
    memories: int,
    starts: int,
    *,
    bias: float = 1.0,
    t_max: float = 1e3,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how dead neurons stabilise ReLU memories: steady states reached from random starts, and their spectra.

    Each memory has W = s · GOE/√(2n), whose spectral norm is about s, and normal biases of standard deviation `bias`.
    At a steady state with k dead neurons S = W⊥Λ⊥ − 1 on the alive ones, so that λ_max(S) is about s √(1 − k/n) − 1: it
    stays negative above s = 1, where λ_max(W) − 1 does not. Memory m has the same matrix and biases at every scale.

    Parameters
    ----------
    n : int
        1 … 131071.
    scales : iterable of float
        s, above 0.
    memories, starts : int
        Memories for each scale, and starts for each memory, of independent normal numbers.
    bias : float
        At least 0.
    t_max : float
        Time after which a trajectory is unsettled.
    seed : int

    Returns
    -------
    DataFrame
        One row per scale; `to_parquet` writes it as it is. The states found are not independent of W, as the V of
        Proposition 3 is: `selected` beside `independent` shows what that does.

        n, memories, trajectories, settled, unsettled, diverged, not_finite, false_memory, kink : int64
        scale, bias : float64
        stable, stable_low, stable_high : float64
            Share of the trajectories that settle where λ_max(S) < 0, with its 95 % interval over memories.
        diverged_share, diverged_share_low, diverged_share_high : float64
        dead, dead_se : float64
            Mean of k/n over memories with settled trajectories, and its standard error.
        lambda_max_S, lambda_max_S_se, lambda_max_S_most : float64
            Of S at the states reached: mean over memories, standard error, largest.
        lambda_max_whole : float64
            Mean of λ_max(W) − 1 over all memories: S with no dead neuron.
        lambda_max_leading, lambda_max_predicted : float64
            For k directions independent of W, averaged over the k reached: s √(1 − k/n) − 1, and
            s (μ′ + m₁σ′)/√(2n) − 1 with μ′ and σ′ of n − k rows.
        selected, selected_se : float64
            Mean of ‖W⊥‖/(‖W‖ √(1 − k/n)) over memories, dead neurons as reached; NaN where none settles.
        independent, independent_se : float64
            The same for as many neurons that are chosen without W, the first ones.

        Where all neurons are dead S is empty: its λ_max counts as −1, the eigenvalue of dead directions, and the last
        four columns leave it out.

    Raises
    ------
    TypeError, ValueError
        Where a number is not one, or out of its range.
    """
    size = checks.whole("n", n, least=1, most=MOST_ROWS["dense"])
    factors = [checks.real("scales", scale, above=0) for scale in scales]
    count = checks.whole("memories", memories, least=1, most=MOST_DRAWS)
    each = checks.whole("starts", starts, least=1, most=MOST_DRAWS)
    spread = checks.real("bias", bias, least=0)
    key = checks.seed("seed", seed)
    matrices = dense_matrices(key, 0, count, size, 1 / np.sqrt(2 * size))
    with one_blas_thread():
        ends = ends_of_spectra(matrices)
    b = spread * _normals(key, random.BIAS, [0], count, size)[0]
    y0 = _normals(key, random.START, range(count), each, size)
    rows = []
    for s in factors:
        weights = s * matrices
        found = settle(Memory(weights, b, "relu"), y0, t_max=t_max)
        ok, diverged = found.settled, found.kind == "diverged"
        with one_blas_thread():
            alive, top, selected, independent = _alive_parts(weights, found.state, ok)
        unit = np.abs(s * ends).max(axis=1)[:, None] * np.sqrt(np.maximum(alive, 1) / size)
        stable = np.mean(ok & (top < 0), axis=1)
        left = alive[ok]
        leading = np.mean(s * np.sqrt(left / size)) - 1 if left.size else np.nan
        predicted = np.mean(s * _lambda_max(left) / np.sqrt(2 * size)) - 1 if left.size else np.nan
        rows.append(
            {
                "n": size,
                "memories": count,
                "trajectories": count * each,
                **{kind: int((found.kind == kind).sum()) for kind in KINDS},
                "scale": s,
                "bias": spread,
                **_share("stable", stable),
                **_share("diverged_share", diverged.mean(axis=1)),
                **_over_memories("dead", 1 - alive / size, ok),
                **_over_memories("lambda_max_S", top, ok),
                "lambda_max_S_most": float(top[ok].max()) if left.size else np.nan,
                "lambda_max_whole": float(s * ends[:, 1].mean() - 1),
                "lambda_max_leading": float(leading),
                "lambda_max_predicted": float(predicted),
                **_over_memories("selected", selected / unit, ok & (alive > 0)),
                **_over_memories("independent", independent / unit, ok & (alive > 0)),
            }
        )
    return pd.DataFrame(rows)


def ratio_of_means(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float]:
    """Return mean(top)/mean(bottom) and its standard error for paired draws, correlated or not (delta method)."""
    ratio = float(top.mean() / bottom.mean())
    return ratio, float((top - ratio * bottom).std(ddof=1) / np.sqrt(top.size) / abs(bottom.mean()))


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
    std = float(values.std(ddof=1))
    return {
        f"{name}_mean": float(values.mean()),
        f"{name}_se": float(std / np.sqrt(values.size)),
        f"{name}_std": std,
    }


def _share(name: str, rates: np.ndarray) -> dict[str, float]:
    low, high = over_realisations(rates)
    return {name: float(rates.mean()), f"{name}_low": low, f"{name}_high": high}


def _over_memories(name: str, values: np.ndarray, ok: np.ndarray) -> dict[str, float]:
    """Mean over memories of their means over the trajectories that are `ok`, and its standard error."""
    means = np.array([row[good].mean() for row, good in zip(values, ok, strict=True) if good.any()])
    error = means.std(ddof=1) / np.sqrt(means.size) if means.size > 1 else np.nan
    return {name: float(means.mean()) if means.size else np.nan, f"{name}_se": float(error)}


def _lambda_max(n: np.ndarray) -> np.ndarray:
    """`expected_lambda_max`, and 0 for no row."""
    return np.where(n > 0, expected_lambda_max(np.maximum(n, 1)), 0.0)


def _alive_parts(weights: np.ndarray, states: np.ndarray, ok: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return for every trajectory that is `ok` the number of alive neurons a, λ_max(S), ‖W⊥‖, and ‖W‖ of the first a.

    All of shape (K, B); S counts as −1 and a norm as 0 where no neuron is alive.
    """
    alive = states > 0
    top, norm, first = np.full((3, *ok.shape), np.nan)
    for m, w in enumerate(weights):
        # Many starts share an end: every set of alive neurons is looked at once.
        sets, which = np.unique(alive[m, ok[m]], axis=0, return_inverse=True)
        found = np.zeros((len(sets), 3))
        for row, mask in zip(found, sets, strict=True):
            a = int(mask.sum())
            if a > 0:
                low, high = ends_of_spectra(w[np.ix_(mask, mask)])
                row[:] = high, max(high, -low), np.abs(ends_of_spectra(w[:a, :a])).max()
        top[m, ok[m]], norm[m, ok[m]], first[m, ok[m]] = found[which.reshape(-1)].T - [[1.0], [0.0], [0.0]]
    return alive.sum(axis=2), top, norm, first


def _compared(part: np.ndarray, whole: np.ndarray, n: int, k: int) -> dict[str, float]:
    norm = np.abs(part).max(axis=1)
    ratio, error = ratio_of_means(norm, np.abs(whole).max(axis=1))
    return {
        **_summary("lambda_max", part[:, 1]),
        **_summary("norm", norm),
        "ratio": ratio,
        "ratio_se": error,
        "ratio_leading": float(np.sqrt(1 - k / n)),
        "ratio_predicted": float(expected_norm(n - k) / expected_norm(n)),
    }


def _normals(seed: int, tag: int, realisations: Iterable[int], count: int, n: int) -> np.ndarray:
    ids = np.array(list(realisations), np.int64)
    out = np.empty((ids.size, count, n))
    fill.normals(seed, tag, ids, 0, out)
    return out


def _removed(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    beside = np.linalg.qr(columns, mode="complete")[0][..., columns.shape[-1] :]
    part = np.swapaxes(beside, -1, -2) @ matrices @ beside
    return np.asarray(0.5 * (part + np.swapaxes(part, -1, -2)))
