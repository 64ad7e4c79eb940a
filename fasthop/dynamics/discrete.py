"""The discrete rules that graded memories are held against: which patterns they keep, and where they lead cues."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from fasthop.runtime import on_queue, one_blas_thread
from fasthop_kernels import discrete

#: Numbers that are held at once beside cues and patterns: 2²³ float64 are 64 MiB.
_AT_ONCE = 2**23

#: Sweeps, or steps, after which a rule that has come to no end is in a cycle. Symmetric W without a negative diagonal,
#: and energies, need some ten.
_MOST = 1000


class Rule(Protocol):
    """A discrete rule for the neurons of one memory."""

    def fixed(self, patterns: np.ndarray) -> np.ndarray:
        """Say which patterns, (P, N), one step leaves as they are, bool array of shape (P,)."""

    def settle(self, cues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where cues, (C, N), end, and whether they do, bool array of shape (C,)."""


class Signs(NamedTuple):
    """Binary neurons that take the sign of W σ + b (Hopfield, PNAS 79:2554, 1982).

    Attributes
    ----------
    W : float64 array, shape (N, N)
    b : float64 array, shape (N,)
    """

    W: np.ndarray
    b: np.ndarray

    @property
    def _silence(self) -> float:
        """Up to where a field is 0: sums of N couplings that cancel leave their rounding errors."""
        return float(np.finfo(float).eps * (len(self.b) * np.abs(self.W).max() + np.abs(self.b).max()))

    def fixed(self, patterns: np.ndarray) -> np.ndarray:
        """Say which patterns a synchronous step leaves: sign(W ξ + b) = ξ; a field of 0 leaves none."""
        with one_blas_thread():
            fields = patterns @ self.W.T + self.b
        return np.asarray((fields * patterns > self._silence).all(axis=-1))

    def settle(self, cues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Set one neuron after the other, in order and again, until none changes; a field of 0 changes none.

        A cue begins at its signs; an entry of 0, a hidden one, says nothing until it is set.
        """
        state, done = np.sign(cues).astype(np.int64), np.empty(len(cues), bool)
        # numba types read-only arrays apart
        columns, b = np.require(self.W.T, None, ["C", "W"]), np.require(self.b, None, ["W"])
        fields = np.empty(state.shape)
        on_queue(len(state), discrete.settle_signs, columns, b, self._silence, _MOST, state, fields, done)
        return state.astype(np.float64), done


class Energy(NamedTuple):
    """Binary neurons that lower the energy −Σ_μ F(ξ^μ·σ) of dense memories.

    A neuron is compared with its flip while the others stay, so that it does not see itself (Krotov and Hopfield,
    arXiv 1606.01164, eq. 3).

    Attributes
    ----------
    F : callable
        Of an array of overlaps, whole numbers −N … N, beyond which it is asked for two more on each side.
    patterns : float64 array, shape (P, N)
        Of ±1.
    b : float
        A bias of every neuron, in units of what the memory of a stored pattern says to it.
    """

    F: Callable[[np.ndarray], np.ndarray]
    patterns: np.ndarray
    b: float = 0.0

    def _gain(self) -> tuple[np.ndarray, float]:
        """D(k) = F(k + 1) − F(k − 1) for k = −N − 1 … N + 1, what an overlap k of the others gives; and b D(N − 1)."""
        n = self.patterns.shape[1]
        values = self.F(np.arange(-n - 2, n + 3, dtype=np.float64))
        gain = values[2:] - values[:-2]
        return gain, self.b * gain[2 * n]

    def fixed(self, patterns: np.ndarray) -> np.ndarray:
        """Say which patterns no single flip improves."""
        count, n = self.patterns.shape
        (gain, bias), fixed = self._gain(), np.empty(len(patterns), bool)
        rows = max(1, _AT_ONCE // count)
        for first in range(0, len(patterns), rows):
            part = patterns[first : first + rows]
            with one_blas_thread():
                at = (part @ self.patterns.T).astype(np.int64) + n + 1
                less, more = gain[at - 1], gain[at + 1]
                # A memory that agrees with the pattern at the neuron gives D(h − 1), one that does not −D(h + 1).
                twice = (less - more).sum(axis=1)[:, None] + part * ((less + more) @ self.patterns + 2 * bias)
            fixed[first : first + rows] = (twice > 0).all(axis=1)
        return fixed

    def settle(self, cues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Set one neuron after the other, in order and again, until none changes, as `Signs.settle` does."""
        state, done = np.sign(cues).astype(np.int64), np.empty(len(cues), bool)
        signs, (gain, bias) = np.ascontiguousarray(self.patterns.T).astype(np.int64), self._gain()
        rows = max(1, _AT_ONCE // len(self.patterns))
        for first in range(0, len(cues), rows):
            part = slice(first, first + rows)
            overlaps = np.empty((len(state[part]), len(self.patterns)), np.int64)
            mine = state[part], overlaps, done[part]
            on_queue(len(overlaps), discrete.settle_energies, signs, gain, bias, _MOST, *mine)
        return state.astype(np.float64), done


class Attention(NamedTuple):
    """States that take the step ξᵀ softmax(β ξ σ) + b (Ramsauer et al., arXiv 2008.02217, eq. 3).

    Attributes
    ----------
    beta : float
    patterns : float64 array, shape (P, N)
    b : float
    """

    beta: float
    patterns: np.ndarray
    b: float = 0.0

    def _step(self, states: np.ndarray) -> np.ndarray:
        after = np.empty(states.shape)
        rows = max(1, _AT_ONCE // len(self.patterns))
        for first in range(0, len(states), rows):
            with one_blas_thread():
                h = self.beta * (states[first : first + rows] @ self.patterns.T)
                weight = np.exp(h - h.max(axis=1, keepdims=True))
                weight /= weight.sum(axis=1, keepdims=True)
                after[first : first + rows] = weight @ self.patterns + self.b
        return after

    def fixed(self, patterns: np.ndarray) -> np.ndarray:
        """Say which patterns keep their signs in one step."""
        return np.asarray((self._step(patterns) * patterns > 0).all(axis=1))

    def settle(self, cues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take steps until one changes a state by no more than rounding does."""
        state, done = cues.astype(np.float64), np.zeros(len(cues), bool)
        still = np.finfo(float).eps * 8 * np.abs(self.patterns).max()
        for _ in range(_MOST):
            moving = np.flatnonzero(~done)
            if not moving.size:
                break
            after = self._step(state[moving])
            done[moving] = np.abs(after - state[moving]).max(axis=1) <= still
            state[moving] = after
        return state, done
