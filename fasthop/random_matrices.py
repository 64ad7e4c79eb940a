"""Random weights of the Gaussian orthogonal ensemble: matrices, ends of spectra, and how dead neurons move these.

The convention is M = (A + Aᵀ)/2 with A of independent normal numbers: variance 1 on the diagonal, 1/2 off it, and
‖M‖ ≈ √(2N). What is left of M when k directions V independent of it are removed, W⊥ = V⊥ᵀ M V⊥, is GOE of N − k rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks, fill
from fasthop.ensemble import KINDS, settle
from fasthop.memory import Memory
from fasthop.runtime import aside, on_threads, one_blas_thread, workers_for
from fasthop.statistics import over_realisations
from fasthop_kernels import goe as kernels
from fasthop_kernels import random
from fasthop_kernels.lanes import lane_line

#: Means of the Tracy–Widom law TW1 and of the larger of two independent numbers of that law (`tracy_widom`).
TW1_MEAN = -1.2065335745820
LARGER_MEAN = -0.4936399332353

#: Most rows of each method: the counters of the random numbers for "edge" and "dense", memory for "tridiagonal".
MOST_ROWS = {"edge": 10**9, "tridiagonal": 10**7, "dense": 2**17 - 1}

_MOST_DRAWS = 2**32
#: Entries of dense matrices that are held at a time.
_BATCH = 2**22


@dataclasses.dataclass(frozen=True)
class Extremes:
    """Extreme eigenvalues of random matrices.

    Attributes
    ----------
    n, dead : int
        The matrices have n − dead rows.
    lambda_min, lambda_max, norm : float64 arrays, shape (draws,)
        Smallest and largest eigenvalue, and the larger of their sizes, ‖W‖₂.
    """

    n: int
    dead: int
    lambda_min: np.ndarray
    lambda_max: np.ndarray
    norm: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per draw: n, dead, draw (int64), lambda_min, lambda_max, norm (float64)."""
        draws = self.norm.size
        return pd.DataFrame(
            {
                "n": np.full(draws, self.n),
                "dead": np.full(draws, self.dead),
                "draw": np.arange(draws),
                "lambda_min": self.lambda_min,
                "lambda_max": self.lambda_max,
                "norm": self.norm,
            }
        )


def goe(n: int, size: int | None = None, *, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return GOE matrices, scale · (A + Aᵀ)/2 with A of independent normal numbers.

    Every number is a function of the seed, the number of the matrix and its own place: more matrices extend the fewer,
    and the matrices of n rows are the leading blocks of those of n + 1.

    Parameters
    ----------
    n : int
        1 … 131071.
    size : int, optional
        Number of matrices; by default one, without the leading axis.
    seed : int
        0 … 2⁶⁴ − 1.
    scale : float
        Standard deviation of the diagonal, above 0: 1/√(2n) makes the spectral norm about 1, √2 gives the other
        convention, of variance 2 on and 1 off the diagonal.

    Returns
    -------
    float64 array, shape (n, n) or (size, n, n)
        Symmetric to the last bit.

    Raises
    ------
    TypeError, ValueError
        Where a number is not one, or out of its range.
    """
    rows = checks.whole("n", n, least=1, most=MOST_ROWS["dense"])
    count = 1 if size is None else checks.whole("size", size, least=1, most=_MOST_DRAWS)
    matrices = _dense(checks.seed("seed", seed), 0, count, rows, checks.real("scale", scale, above=0))
    return matrices[0] if size is None else matrices


def goe_extremes(n: int, draws: int, *, dead: int = 0, seed: int = 0, method: str = "edge") -> Extremes:
    """Return the extreme eigenvalues of GOE matrices of n rows, or of what is left of them without `dead` directions.

    Parameters
    ----------
    n : int
        1 … 10⁹ ("tridiagonal": 10⁷, "dense": 131071).
    draws : int
        1 … 2³². More draws extend the fewer.
    dead : int
        k, from 0 to n − 1: the eigenvalues are those of W⊥ for k directions that are independent of the matrix. In law
        that is GOE of n − k rows, and this is what is drawn.
    seed : int
        0 … 2⁶⁴ − 1. Draws of one number and seed share their random numbers whatever n and `dead` are, so that they
        are correlated, and differences and ratios between two sizes sharper than between two seeds.
    method : {"edge", "tridiagonal", "dense"}
        From the first 14 (n − k)^{1/3} rows of a tridiagonal matrix with the same eigenvalues, from all its rows, or by
        LAPACK from `goe` matrices, which are other draws. The first two give the same numbers up to rounding; their
        error is a few units in the last place of the norm.

    Returns
    -------
    Extremes

    Raises
    ------
    TypeError, ValueError
        Where a number is not one, or out of its range.

    Notes
    -----
    The tridiagonal model is that of Dumitriu, Edelman, J. Math. Phys. 43:5830, 2002, the block at the edge that of
    Edelman, Persson, arXiv math-ph/0501068.
    """
    name = checks.one_of("method", method, MOST_ROWS)
    rows = checks.whole("n", n, least=1, most=MOST_ROWS[name])
    count = checks.whole("draws", draws, least=1, most=_MOST_DRAWS)
    k = checks.whole("dead", dead, least=0, most=rows - 1)
    left, key = rows - k, checks.seed("seed", seed)
    if name == "dense":
        smallest, largest = _dense_extremes(key, left, count)
    else:
        smallest, largest = edge(left, count, seed=key, rows=kernels.edge_rows(left) if name == "edge" else left)
    return Extremes(rows, k, smallest, largest, np.maximum(largest, -smallest))


def edge(n: int, draws: int, *, seed: int, rows: int, lanes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return λ_min and λ_max of the first `rows` rows of tridiagonal matrices of n rows.

    `lanes`, the matrices in a tile, is not seen in the results.
    """
    smallest, largest = np.empty(draws), np.empty(draws)
    line, start, taken = lane_line(np.float64), kernels.bracket(n), np.zeros(1, np.int64)
    # No wider than what gives every thread a tile.
    width = lanes or min(kernels.most_lanes(rows), -(-draws // (workers_for(draws) * line)) * line)
    workers = workers_for(-(-draws // width))
    floats, words = kernels.workspace(rows, workers, width)

    def work(worker: int, stop: np.ndarray) -> None:
        kernels.extremes(
            worker, np.uint64(seed), 0, n, rows, width, start, floats, words, taken, smallest, largest, stop
        )

    on_threads(workers, work)
    return smallest, largest


# --- predictions ----------------------------------------------------------------------------------------------------


def edge_scaling(n: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return μ′ and σ′ for which (λ_max − μ′)/σ′ tends to TW1: √(2(n − ½ − (n − ½)^{−1/3}/10)) and n^{−1/6}/√2.

    Parameters
    ----------
    n : int array_like
        At least 1.
    """
    size = np.asarray(n, np.float64)
    half = size - 0.5
    return np.sqrt(2.0 * (half - half ** (-1 / 3) / 10.0)), size ** (-1 / 6) / np.sqrt(2.0)


def expected_lambda_max(n: Any) -> np.ndarray:
    """Return the predicted mean of λ_max, μ′ + m₁σ′ with the mean m₁ of TW1 (equation (11) of arXiv 2410.13866)."""
    centre, width = edge_scaling(n)
    return np.asarray(centre + TW1_MEAN * width)


def expected_norm(n: Any) -> np.ndarray:
    """Return the predicted mean of ‖W‖₂, μ′ + m₂σ′ with the mean m₂ of the larger of two independent TW1 numbers.

    The two ends of the spectrum become independent as n grows; at n = 10 the prediction is .2 % low, at 5 .9 %.
    """
    centre, width = edge_scaling(n)
    return np.asarray(centre + LARGER_MEAN * width)


# --- tables ---------------------------------------------------------------------------------------------------------


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
    checks.whole("draws", draws, least=2, most=_MOST_DRAWS)
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
    count = checks.whole("draws", draws, least=2, most=_MOST_DRAWS)
    key = checks.seed("seed", seed)
    whole = np.empty((count, 2))
    parts = {name: np.empty((count, 2)) for name in ("coordinates", "random")}
    with one_blas_thread():
        for first, matrices in _batches(key, rows, count):
            draws_here = range(first, first + len(matrices))
            place = slice(draws_here.start, draws_here.stop)
            columns = np.swapaxes(_normals(key, random.DIRECTION, draws_here, k, rows), 1, 2)
            whole[place] = _ends(matrices)
            parts["coordinates"][place] = _ends(matrices[:, : rows - k, : rows - k])
            parts["random"][place] = _ends(_removed(matrices, columns))
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
    ids = [checks.whole("draw", draw, least=0, most=_MOST_DRAWS - 1)]
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
    count = checks.whole("memories", memories, least=1, most=_MOST_DRAWS)
    each = checks.whole("starts", starts, least=1, most=_MOST_DRAWS)
    spread = checks.real("bias", bias, least=0)
    key = checks.seed("seed", seed)
    matrices = _dense(key, 0, count, size, 1 / np.sqrt(2 * size))
    with one_blas_thread():
        ends = _ends(matrices)
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


# --- helpers --------------------------------------------------------------------------------------------------------


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
                low, high = _ends(w[np.ix_(mask, mask)])
                row[:] = high, max(high, -low), np.abs(_ends(w[:a, :a])).max()
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


def _dense(seed: int, first: int, count: int, n: int, scale: float) -> np.ndarray:
    out = np.empty((count, n, n))
    fill.dense(seed, first, float(scale), out)
    return out


def _batches(seed: int, n: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the matrices in order, as many at a time as `_BATCH` allows, each time with the number of the first."""
    step = max(1, _BATCH // (n * n))
    for first in range(0, count, step):
        yield first, _dense(seed, first, min(step, count - first), n, 1.0)


def _ends(matrices: np.ndarray) -> np.ndarray:
    """Smallest and largest eigenvalue of symmetric matrices, shape (…, 2); to be called with one BLAS thread."""
    return np.asarray(aside(np.linalg.eigvalsh, matrices)[..., [0, -1]])


def _removed(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    beside = np.linalg.qr(columns, mode="complete")[0][..., columns.shape[-1] :]
    part = np.swapaxes(beside, -1, -2) @ matrices @ beside
    return np.asarray(0.5 * (part + np.swapaxes(part, -1, -2)))


def _dense_extremes(seed: int, n: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    with one_blas_thread():
        ends = np.concatenate([_ends(matrices) for _, matrices in _batches(seed, n, draws)])
    return ends[:, 0].copy(), ends[:, 1].copy()
