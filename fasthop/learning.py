"""Learning rules: patterns to weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from fasthop import checks
from fasthop.runtime import one_blas_thread


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
