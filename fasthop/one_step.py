"""Patterns that one step of a discrete rule leaves as they are: what the capacity of discrete memories counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fasthop.runtime import one_blas_thread

#: Overlaps that are held at once: 2²³ float64 are 64 MiB.
_AT_ONCE = 2**23


def fixed_by_sign(W: Any, b: Any, patterns: np.ndarray) -> np.ndarray:
    """Say which patterns a synchronous step of binary neurons leaves: sign(W ξ + b) = ξ.

    Parameters
    ----------
    W : float64 array, shape (K, N, N)
    b : float64 array, shape (K, N)
    patterns : float64 array, shape (K, P, N)
        Of ±1.

    Returns
    -------
    bool array, shape (K, P)
    """
    with one_blas_thread():
        fields = np.matmul(patterns, np.swapaxes(W, -1, -2)) + np.asarray(b)[:, None]
    return np.asarray((fields * patterns > 0).all(axis=-1))


def fixed_by_energy(F: Callable[[np.ndarray], np.ndarray], patterns: np.ndarray) -> np.ndarray:
    """Say which patterns no single flip improves under the energy −Σ_μ F(ξ^μ·σ), the rule of dense memories.

    A neuron is compared with its flip while the others stay, so that it does not see itself (Krotov and Hopfield,
    arXiv 1606.01164, eq. 3).

    Parameters
    ----------
    F : callable
        Of an array of overlaps, whole numbers −N … N, beyond which it is asked for one more on each side.
    patterns : float64 array, shape (P, N)
        Of ±1.

    Returns
    -------
    bool array, shape (P,)
    """
    count, n = patterns.shape
    # D(k) = F(k + 1) − F(k − 1) for k = −N − 1 … N + 1: what one neuron gains where the others have the overlap k.
    whole = np.arange(-n - 2, n + 3, dtype=np.float64)
    values = F(whole)
    gain = values[2:] - values[:-2]
    fixed = np.empty(count, bool)
    rows = max(1, _AT_ONCE // count)
    for first in range(0, count, rows):
        part = patterns[first : first + rows]
        with one_blas_thread():
            at = (part @ patterns.T).astype(np.int64) + n + 1
            less, more = gain[at - 1], gain[at + 1]
            # A memory that agrees with the pattern at the neuron gives D(h − 1), one that does not −D(h + 1).
            margin = (less - more).sum(axis=1)[:, None] + part * ((less + more) @ patterns)
        fixed[first : first + rows] = (margin > 0).all(axis=1)
    return fixed


def fixed_by_attention(beta: float, patterns: np.ndarray) -> np.ndarray:
    """Say which patterns keep their signs in one step ξᵀ softmax(β ξ σ) (Ramsauer et al., arXiv 2008.02217, eq. 3).

    Parameters
    ----------
    beta : float
    patterns : float64 array, shape (P, N)

    Returns
    -------
    bool array, shape (P,)
    """
    with one_blas_thread():
        h = beta * (patterns @ patterns.T)
        weight = np.exp(h - h.max(axis=1, keepdims=True))
        return np.asarray(((weight @ patterns) * patterns > 0).all(axis=1))
