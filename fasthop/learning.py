"""Learning rules: patterns to weights."""

from __future__ import annotations

from typing import Any

import numpy as np

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


def pseudo_inverse(patterns: Any, *, self_coupling: bool = False) -> np.ndarray:
    """Return the projector W = ξ⁺ξ onto the span of the patterns (Kanter, Sompolinsky, PRA 35:380, 1987).

    With the diagonal kept every pattern is reproduced exactly, Wξ = ξ; without it Wξ ≈ (1 − P/N) ξ and the basins are
    larger.

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
        Linearly independent rows.
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is zero.

    Returns
    -------
    float64 array, shape (N, N) or (K, N, N)

    Raises
    ------
    ValueError
        Where patterns depend on each other; the sentence names their rank.
    """
    xi = _patterns(patterns)
    count = xi.shape[-2]
    with one_blas_thread():
        overlaps = np.matmul(xi, np.swapaxes(xi, -1, -2))
        ranks = np.atleast_1d(np.linalg.matrix_rank(overlaps, hermitian=True))
        if (ranks < count).any():
            rank = int(ranks.min())
            raise ValueError(
                f"patterns must be linearly independent for the pseudo-inverse; {count} patterns have rank {rank}."
            )
        W = np.matmul(np.swapaxes(xi, -1, -2), np.linalg.solve(overlaps, xi))
    W = (W + np.swapaxes(W, -1, -2)) / 2
    return W if self_coupling else _without_diagonal(W)


RULES = {"hebb": hebb, "pseudo-inverse": pseudo_inverse}


def _patterns(patterns: Any) -> np.ndarray:
    xi = checks.real_array("patterns", patterns, np.float64)
    if xi.ndim not in (2, 3) or 0 in xi.shape:
        raise ValueError(f"patterns must have shape (P, N) or (K, P, N) with P, N ≥ 1; got {xi.shape}.")
    return xi


def _without_diagonal(W: np.ndarray) -> np.ndarray:
    index = np.arange(W.shape[-1])
    W[..., index, index] = 0.0
    return W
