"""Weights of maximal stability by dual coordinate ascent, one neuron a thread.

For neuron i the patterns become z^μ = ξ_i^μ ξ^μ/√N. Of all w = Σ x_μ z^μ with x ≥ 0 and z·w ≥ 1 for every pattern the
shortest has the largest margin; x is found one entry at a time, each step the best for its entry (the AdaTron of Anlauf
and Biehl, Europhys. Lett. 10:687, 1989). The overlaps of the patterns are computed once for all neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import stopped, take, wide_vectors


@kernel
def _embed(change: float, sign: float, own: float, signs: Any, overlaps: Any, fields: Any) -> None:
    """Add to the fields ξ_i h of all patterns what `change` more of one of them, of this sign, does."""
    wide_vectors()
    for p in range(fields.size):
        fields[p] += change * (sign * signs[p] * overlaps[p] - own)


@kernel
def maximise_stability(
    patterns: Any,
    overlaps: Any,
    own: float,
    tolerance: float,
    most: int,
    strength: Any,
    fields: Any,
    stability: Any,
    taken: Any,
    stop: Any,
) -> None:
    """Find the embedding strengths of every neuron; all workers call it alike.

    Parameters
    ----------
    patterns : float64 array, shape (P, N)
        Of ±1.
    overlaps : float64 array, shape (P, P)
        ξξᵀ/N.
    own : float
        1/N where the coupling of a neuron to itself is zero, 0 where it is kept.
    tolerance : float
        A neuron is done when its margin is within this share of its upper bound.
    most : int
        Sweeps over all patterns after which it stops in any case.
    strength, fields : float64 arrays, shape (N, P)
        Overwritten: x, and ξ_i h of every pattern.
    stability : float64 array, shape (2, N)
        Overwritten: the margin √N min z·w/|w| of every neuron, and its upper bound √N |Σxz|/Σx.
    taken : int64 array, shape (1,)
        Zero on entry; the queue of neurons.
    stop : int64 array, shape (1,)
        What makes every worker return after a sweep (`lanes.stopped`).
    """
    count, neurons = patterns.shape
    root = np.sqrt(float(neurons))
    i = take(taken, 0)
    while i < neurons and not stopped(stop):
        x, h, signs = strength[i], fields[i], patterns[:, i].copy()
        x[:] = 0
        h[:] = 0
        lower, upper = -np.inf, np.inf
        for _ in range(most):
            if stopped(stop):
                break
            for p in range(count):
                # max(0, x + …) as a change of x, so that nothing is added where nothing changes
                change = (1 - h[p]) / (overlaps[p, p] - own)
                change = change if x[p] + change > 0 else -x[p]
                if change != 0:
                    x[p] += change
                    _embed(change, signs[p], own, signs, overlaps[p], h)
            square, total, smallest = 0.0, 0.0, np.inf
            for p in range(count):
                square += x[p] * h[p]
                total += x[p]
                smallest = h[p] if h[p] < smallest else smallest
            size = np.sqrt(square)
            lower, upper = root * smallest / size, root * size / total
            if lower >= (1 - tolerance) * upper or upper < tolerance:
                break
        stability[0, i], stability[1, i] = lower, upper
        i = take(taken, 0)
