"""Learning rules: patterns to weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from fasthop import checks
from fasthop.runtime import on_queue, one_blas_thread
from fasthop_kernels import adatron as kernels


def hebb(patterns: Any, *, self_coupling: bool = False) -> np.ndarray:
    """Return W = ξᵀξ/N (Hebb; Hopfield, PNAS 79:2554, 1982).

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
        One pattern a row.
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    float64 array, shape (N, N) or (K, N, N)
    """
    xi = _patterns(patterns)
    with one_blas_thread():
        W = np.matmul(np.swapaxes(xi, -1, -2), xi)  # whole numbers for patterns of ±1: exact
    W /= xi.shape[-1]
    return W if self_coupling else _without_diagonal(W)


def projector(patterns: Any, *, self_coupling: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return W = ξ⁺ξ, the projector onto the span of the patterns, and its rank.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
        They may depend on each other; W is then that of an independent subset with the same span.
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    W : float64 array, shape (N, N) or (K, N, N)
    rank : int64 array, shape () or (K,)
    """
    xi = _patterns(patterns)
    W = np.empty((*xi.shape[:-2], xi.shape[-1], xi.shape[-1]))
    rank = np.empty(xi.shape[:-2], np.int64)
    with one_blas_thread():
        for index in np.ndindex(rank.shape):
            basis = _orthonormal(xi[index])
            W[index], rank[index] = basis.T @ basis, len(basis)
    return (W if self_coupling else _without_diagonal(W)), rank


def pseudo_inverse(patterns: Any, *, self_coupling: bool = False) -> np.ndarray:
    """Return W = ξ⁺ξ for linearly independent patterns (Kanter, Sompolinsky, PRA 35:380, 1987).

    With the diagonal kept every pattern is reproduced exactly, Wξ = ξ; without it Wξ ≈ (1 − P/N) ξ and the basins are
    larger.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    float64 array, shape (N, N) or (K, N, N)

    Raises
    ------
    ValueError
        Where patterns depend on each other; the sentence names their rank. `projector` takes such patterns.
    """
    W, rank = projector(patterns, self_coupling=self_coupling)
    count = np.shape(patterns)[-2]
    if (rank < count).any():
        raise ValueError(f"patterns must be linearly independent; {count} of them have rank {rank.min()}.")
    return W


def storkey(patterns: Any, *, self_coupling: bool = False) -> np.ndarray:
    """Return Storkey's weights: every pattern is added less what the weights before it already say (ICANN 1997, 451).

    ΔW_ij = (ξ_i ξ_j − ξ_i h_ji − h_ij ξ_j)/N with h_ij = Σ_{k≠i,j} W_ik ξ_k. Local and incremental; the order of the
    patterns matters.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
        Of ±1, in the order of learning.
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    float64 array, shape (N, N) or (K, N, N)
    """
    sets = _patterns(patterns)
    n = sets.shape[-1]
    W = np.zeros((*sets.shape[:-2], n, n))
    index = np.arange(n)
    for xi in np.moveaxis(sets, -2, 0):
        row, column = xi[..., None, :], xi[..., :, None]
        # Products and sums in an order that does not depend on a BLAS.
        h = (W * row).sum(axis=-1)[..., None] - (W[..., index, index] * xi)[..., None] - W * row
        h[..., index, index] += W[..., index, index] * xi  # on the diagonal k = i was taken away twice
        learnt = h * row
        W += (column * row - (learnt + np.swapaxes(learnt, -1, -2))) / n  # symmetric to the last bit
    return W if self_coupling else _without_diagonal(W)


def covariance(patterns: Any, *, activity: float | None = None, self_coupling: bool = False) -> np.ndarray:
    """Return W = Σ(ξ − a)(ξ − a)ᵀ/(N v) for biased or sparse patterns, with v the mean square of ξ − a.

    For ±1 with mean 0 this is Hebb's rule; for 0 and 1 it is that of Tsodyks and Feigel'man (Europhys. Lett. 6:101,
    1988), and of Amit, Gutfreund and Sompolinsky (Phys. Rev. A 35:2293, 1987) for biased signs.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    activity : float, optional
        a; by default the mean of the patterns, for each of K sets its own.
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    float64 array, shape (N, N) or (K, N, N)

    Raises
    ------
    ValueError
        Where all entries equal the activity.
    """
    xi = _patterns(patterns)
    mean = xi.mean(axis=(-2, -1), keepdims=True) if activity is None else checks.real("activity", activity)
    centred = xi - mean
    spread = (centred**2).mean(axis=(-2, -1), keepdims=True)
    if not (spread > 0).all():
        raise ValueError("patterns must differ from their activity; all entries are equal to it.")
    with one_blas_thread():
        W = np.matmul(np.swapaxes(centred, -1, -2), centred)
    W /= xi.shape[-1] * spread
    return W if self_coupling else _without_diagonal(W)


def maximal_stability(
    patterns: Any, *, self_coupling: bool = False, tolerance: float = 1e-3, most_sweeps: int = 10_000
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the perceptron of maximal stability (Krauth and Mézard, J. Phys. A 20:L745, 1987).

    Every row w of W has the largest κ = min ξ_i (w·ξ)/|w| over all patterns, and the length at which the smallest
    ξ_i (w·ξ) is 1. Found with the AdaTron, which converges exponentially; W is not symmetric. Up to P = 2N a positive κ
    exists for random patterns (Gardner, J. Phys. A 21:257, 1988).

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
        Of ±1.
    self_coupling : bool
        Whether a neuron may learn from itself, which makes every set of patterns stable and little retrieved; otherwise
        the diagonal is zero.
    tolerance : float
        κ is within this share of an upper bound that the same weights prove.
    most_sweeps : int
        Sweeps over the patterns after which a neuron stops in any case.

    Returns
    -------
    W : float64 array, shape (N, N) or (K, N, N)
    stability : float64 array, shape (N,) or (K, N)
        κ of every neuron; 0 or negative where the patterns cannot all be stable or the sweeps did not suffice.
    """
    sets = _patterns(patterns)
    if (np.abs(sets) != 1).any():
        raise ValueError("patterns must be of ±1.")
    share = checks.real("tolerance", tolerance, above=0, most=0.5)
    most = checks.whole("most_sweeps", most_sweeps, least=1)
    p, n = sets.shape[-2:]
    if n == 1 and not self_coupling:
        raise ValueError("patterns must have at least 2 neurons without self_coupling; got 1.")
    W, kappa = np.empty((*sets.shape[:-2], n, n)), np.empty((*sets.shape[:-2], n))
    strength, fields, stability = np.empty((n, p)), np.empty((n, p)), np.empty((2, n))
    for index in np.ndindex(sets.shape[:-2]):
        xi = np.ascontiguousarray(sets[index])
        own = 0.0 if self_coupling else 1.0 / n
        with one_blas_thread():
            problem = xi, xi @ xi.T / n, own, share, most, strength, fields, stability
            on_queue(n, kernels.maximise_stability, *problem)
            smallest = fields.min(axis=1)
            strength /= np.where(smallest > 0, smallest, 1.0)[:, None]
            W[index] = (strength * xi.T) @ xi / n
        kappa[index] = stability[0]
    return (W if self_coupling else _without_diagonal(W)), kappa


#: Squared distance of a pattern from the span of those before it, relative to its length, below which it lies in it.
_INDEPENDENT = 1e-10


def _orthonormal(xi: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the rows, as rows."""
    overlaps = xi @ xi.T
    try:
        lower = linalg.cholesky(overlaps, lower=True)
    except linalg.LinAlgError:
        lower = None
    if lower is not None and (np.diag(lower) ** 2 > _INDEPENDENT * np.diag(overlaps)).all():
        return np.asarray(linalg.solve_triangular(lower, xi, lower=True))
    values, vectors = linalg.eigh(overlaps)
    kept = values > _INDEPENDENT * values[-1]
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ xi)


def _patterns(patterns: Any) -> np.ndarray:
    xi = checks.real_array("patterns", patterns, np.float64)
    if xi.ndim not in (2, 3) or 0 in xi.shape:
        raise ValueError(f"patterns must have shape (P, N) or (K, P, N) with P, N ≥ 1; got {xi.shape}.")
    return xi


def _without_diagonal(W: np.ndarray) -> np.ndarray:
    index = np.arange(W.shape[-1])
    W[..., index, index] = 0.0
    return W
