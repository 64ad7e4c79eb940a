"""Binary neurons that are set one after the other until none of them changes, one cue a thread.

Neurons are ±1, or 0 where a cue says nothing of them. Each in turn takes the sign of what the others say; where they
say nothing it stays as it is. A sweep asks every neuron once, in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import stopped, take, wide_vectors


@kernel
def _add(change: Any, said: Any, heard: Any) -> None:
    """Add what a change of one neuron does to the fields of all neurons, or to the overlaps with all patterns."""
    wide_vectors()
    for i in range(heard.size):
        heard[i] += change * said[i]


@kernel
def settle_signs(
    columns: Any,
    bias: Any,
    silence: float,
    most: int,
    state: Any,
    fields: Any,
    done: Any,
    taken: Any,
    stop: Any,
) -> None:
    """Set σ_i to the sign of Σ_j W_ij σ_j + b_i; all workers call it alike.

    Parameters
    ----------
    columns : float64 array, shape (N, N)
        Wᵀ: row j is what neuron j says to the others.
    bias : float64 array, shape (N,)
    silence : float
        A field up to this size is 0 but for rounding.
    most : int
        Sweeps after which it stops in any case.
    state : int64 array, shape (C, N)
        The cues; overwritten by where they end.
    fields : float64 array, shape (C, N)
        Overwritten.
    done : bool array, shape (C,)
        Overwritten: whether the last sweep changed nothing.
    taken : int64 array, shape (1,)
        Zero on entry; the queue of cues.
    stop : int64 array, shape (1,)
        What makes every worker return after a sweep (`lanes.stopped`).
    """
    count, neurons = state.shape
    c = take(taken, 0)
    while c < count and not stopped(stop):
        sigma, h = state[c], fields[c]
        h[:] = bias
        for j in range(neurons):
            if sigma[j] != 0:
                _add(float(sigma[j]), columns[j], h)
        done[c] = False
        for _ in range(most):
            if stopped(stop):
                break
            still = True
            for i in range(neurons):
                wanted = np.int64(1 if h[i] > 0 else -1)
                if abs(h[i]) > silence and wanted != sigma[i]:
                    _add(float(wanted - sigma[i]), columns[i], h)
                    sigma[i] = wanted
                    still = False
            if still:
                done[c] = True
                break
        c = take(taken, 0)


@kernel
def settle_energies(
    signs: Any,
    gain: Any,
    bias: float,
    most: int,
    state: Any,
    overlaps: Any,
    done: Any,
    taken: Any,
    stop: Any,
) -> None:
    """Set σ_i to the sign that lowers −Σ_μ F(ξ^μ·σ) − b Σ_i σ_i/2 while the others stay.

    Parameters
    ----------
    signs : int64 array, shape (N, P)
        ξᵀ, of ±1.
    gain : float64 array, shape (2N + 3,)
        D(k) = F(k + 1) − F(k − 1) for k = −N − 1 … N + 1.
    bias : float
        Of every neuron, in units of D.
    most : int
        Sweeps after which it stops in any case.
    state : int64 array, shape (C, N)
        The cues; overwritten by where they end.
    overlaps : int64 array, shape (C, P)
        Overwritten.
    done, taken, stop
        As in `settle_signs`.
    """
    count, neurons = state.shape
    patterns = signs.shape[1]
    c = take(taken, 0)
    while c < count and not stopped(stop):
        sigma, h = state[c], overlaps[c]
        h[:] = neurons + 1  # the place of overlap 0 in `gain`
        for i in range(neurons):
            if sigma[i] != 0:
                _add(sigma[i], signs[i], h)
        done[c] = False
        for _ in range(most):
            if stopped(stop):
                break
            still = True
            for i in range(neurons):
                own, xi = sigma[i], signs[i]
                margin = bias
                for p in range(patterns):
                    margin += xi[p] * gain[h[p] - own * xi[p]]
                wanted = np.int64(1 if margin > 0 else -1)
                if margin != 0 and wanted != own:
                    _add(wanted - own, xi, h)
                    sigma[i] = wanted
                    still = False
            if still:
                done[c] = True
                break
        c = take(taken, 0)
