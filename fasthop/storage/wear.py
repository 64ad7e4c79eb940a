"""What becomes of weights that are cut or coarse: dilution and quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fasthop import checks, fill
from fasthop_kernels.mathematics import random


def dilute(W: Any, share: float, *, seed: int = 0, realisations: Sequence[int] | None = None) -> np.ndarray:
    """Return W with random pairs of neurons disconnected: W_ij and W_ji are cut together, with probability `share`.

    What is left is divided by 1 − share, so that the signal of a stored pattern stays. A larger share cuts what a
    smaller one cuts, and more; a symmetric W stays symmetric (Sompolinsky, Phys. Rev. A 34:2571, 1986).

    Parameters
    ----------
    W : array_like, shape (N, N), or (R, N, N) with `realisations`
        The diagonal is kept as it is, but for the division.
    share : float
        0 … 1, below 1.
    seed : int
    realisations : sequence of int, optional
        One set of cuts for each; by default that of realisation 0.

    Returns
    -------
    float64 array of the shape of W
    """
    matrix, uniform = _with_uniforms(W, seed, realisations, 0)
    # One number decides for both directions: that of the lower triangle.
    lower = np.tril(uniform, -1)
    return _cut(matrix, lower + np.swapaxes(lower, -1, -2), share)


def dilute_one_way(W: Any, share: float, *, seed: int = 0, realisations: Sequence[int] | None = None) -> np.ndarray:
    """Return W with random couplings cut, each with probability `share` whatever becomes of its opposite.

    W is then no longer symmetric (Derrida, Gardner and Zippelius, Europhys. Lett. 4:167, 1987). Otherwise as `dilute`.

    Parameters
    ----------
    W : array_like, shape (N, N), or (R, N, N) with `realisations`
    share : float
        0 … 1, below 1.
    seed : int
    realisations : sequence of int, optional

    Returns
    -------
    float64 array of the shape of W
    """
    matrix, uniform = _with_uniforms(W, seed, realisations, 1)
    return _cut(matrix, uniform, share)


def _with_uniforms(W: Any, seed: int, realisations: Sequence[int] | None, use: int) -> tuple[np.ndarray, np.ndarray]:
    """Return W and a uniform number for each of its entries; `use` 0 and 1 have different ones."""
    matrix = checks.real_array("W", W, np.float64)
    ids = np.array([0] if realisations is None else list(realisations), np.int64)
    due = 2 if realisations is None else 3
    if matrix.ndim != due or matrix.shape[-1] != matrix.shape[-2] or (due == 3 and len(matrix) != ids.size):
        shape = "(N, N)" if due == 2 else f"({ids.size}, N, N)"
        raise ValueError(f"W must have shape {shape}; got {matrix.shape}.")
    n = matrix.shape[-1]
    out = np.empty((ids.size, n, n))
    fill.uniforms(checks.seed("seed", seed), random.SYNAPSE, ids, use * 2**31, out)
    return matrix, out.reshape(matrix.shape)


def _cut(W: np.ndarray, uniform: np.ndarray, share: float) -> np.ndarray:
    p = checks.real("share", share, least=0, most=1)
    if p == 1:
        raise ValueError("share must be below 1; got 1: nothing would be left.")
    kept = uniform >= p
    n = np.arange(W.shape[-1])
    kept[..., n, n] = True
    return np.asarray(np.where(kept, W, 0.0) / (1 - p))


def quantise(W: Any, levels: int) -> np.ndarray:
    """Return W on so many equally spaced values, symmetric about 0: 2 are signs (clipped synapses), 3 have a 0 besides.

    They reach to (1.3 + log₂(levels)/3) σ on both sides, with σ² the mean square of the entries off the diagonal, which
    is close to the best for normal ones (Max, IRE Trans. Inf. Theory 6:7, 1960); what is beyond takes the last value.
    The whole is scaled so that its part along W is W itself: the signal of a stored pattern stays, and the
    rest is noise (for signs of Hebb's rule α_c falls from .138 to about .10: Sompolinsky, Phys. Rev. A 34:2571, 1986).

    Parameters
    ----------
    W : array_like, shape (N, N) or (K, N, N)
        The diagonal stays as it is, and entries that are 0, as cut ones, stay 0.
    levels : int
        2 … 256.

    Returns
    -------
    float64 array of the shape of W
    """
    matrix = checks.real_array("W", W, np.float64)
    if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"W must have shape (N, N) or (K, N, N); got {matrix.shape}.")
    count = checks.whole("levels", levels, least=2, most=256)
    n = np.arange(matrix.shape[-1])
    diagonal = matrix[..., n, n].copy()
    matrix[..., n, n] = 0.0
    there = matrix != 0
    square = (matrix**2).sum(axis=(-2, -1), keepdims=True)
    number = np.maximum(there.sum(axis=(-2, -1), keepdims=True), 1)
    spacing = 2 * (1.3 + np.log2(count) / 3) / count * np.sqrt(np.where(square > 0, square / number, 1.0))
    size = np.abs(matrix) / spacing
    # Even numbers of levels have none at 0: the nearest is half a spacing away, on the side of the sign.
    coarse = np.sign(matrix) * np.minimum(np.floor(size) + 0.5 if count % 2 == 0 else np.rint(size), (count - 1) / 2)
    along = (coarse * matrix).sum(axis=(-2, -1), keepdims=True)
    coarse *= np.where(along > 0, square, 0.0) / np.where(along > 0, along, 1.0)
    coarse[..., n, n] = diagonal
    return np.asarray(coarse)
