"""Random weights of the Gaussian orthogonal ensemble: matrices, and the ends of their spectra.

The convention is M = (A + Aᵀ)/2 with A of independent normal numbers: variance 1 on the diagonal, 1/2 off it, and
‖M‖ ≈ √(2N). What is left of M when k directions V independent of it are removed, W⊥ = V⊥ᵀ M V⊥, is GOE of N − k rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks, fill
from fasthop.results import Result, extent
from fasthop.runtime import aside, on_threads, one_blas_thread, workers_for
from fasthop_kernels import goe as kernels
from fasthop_kernels.machine.lanes import lane_line

#: Means of the Tracy–Widom law TW1 and of the larger of two independent numbers of that law (`tracy_widom`).
TW1_MEAN = -1.2065335745820
LARGER_MEAN = -0.4936399332353

#: Most rows of each method: the counters of the random numbers for "edge" and "dense", memory for "tridiagonal".
MOST_ROWS = {"edge": 10**9, "tridiagonal": 10**7, "dense": 2**17 - 1}

MOST_DRAWS = 2**32
#: Entries of dense matrices that are held at a time.
_BATCH = 2**22


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Extremes(Result):
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

    def in_short(self) -> str:
        """Say how many, of what size, and how large."""
        rows = f"n = {self.n}{f', {self.dead} dead' if self.dead else ''}"
        return f"{self.norm.size} draws, {rows}: {extent('norm', self.norm)}"


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
    count = 1 if size is None else checks.whole("size", size, least=1, most=MOST_DRAWS)
    matrices = dense_matrices(checks.seed("seed", seed), 0, count, rows, checks.real("scale", scale, above=0))
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
    count = checks.whole("draws", draws, least=1, most=MOST_DRAWS)
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


def dense_matrices(seed: int, first: int, count: int, n: int, scale: float) -> np.ndarray:
    """Return the matrices from number `first` on, shape (count, n, n)."""
    out = np.empty((count, n, n))
    fill.dense(seed, first, float(scale), out)
    return out


def batches(seed: int, n: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the matrices in order, as many at a time as `_BATCH` allows, each time with the number of the first."""
    step = max(1, _BATCH // (n * n))
    for first in range(0, count, step):
        yield first, dense_matrices(seed, first, min(step, count - first), n, 1.0)


def ends_of_spectra(matrices: np.ndarray) -> np.ndarray:
    """Smallest and largest eigenvalue of symmetric matrices, shape (…, 2); to be called with one BLAS thread."""
    return np.asarray(aside(np.linalg.eigvalsh, matrices)[..., [0, -1]])


def _dense_extremes(seed: int, n: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    with one_blas_thread():
        ends = np.concatenate([ends_of_spectra(matrices) for _, matrices in batches(seed, n, draws)])
    return ends[:, 0].copy(), ends[:, 1].copy()
