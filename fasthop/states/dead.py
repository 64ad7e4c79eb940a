"""Dead neurons: directions in which g of a state stays what it is; arXiv 2410.13866, sections 2 and 3.

A neuron is dead where its activation is flat to the last bit and Λ vanishes. Λ = 0 alone does not make one: at the
minimum of SiLU no direction is flat. A block of softmax or layer norm has dead directions that no neuron owns. The
paper writes g(y_d + y_a) = g(y_a); that holds where the dead cone contains y_d = 0 (ReLU, softmax) and fails for
saturating activations, σ(50) = 1 and σ(0) = 1/2, which is why the cone here comes with a point of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.evaluate import activate, arguments, as_states, residuals, slopes
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.results import Result, counts, extent, how_many, per_state

#: Λ of a dead neuron is at most this.
FLAT = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}

#: Two values of g are one where they differ by this many roundings, relative to max(1, |g_i|).
_ROUNDINGS = 1000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DeadNeurons(Result):
    """What is dead in each of many states, as index sets and block directions; no projector is ever formed.

    Attributes
    ----------
    memory : Memory
    argument : float array, shape (B, N) or (K, B, N)
        The argument of g: y, or W u + b for variable u. Everything here is about it.
    neurons : bool array of the same shape
        Which neurons are dead: the index sets.
    k : int64 array, shape (B,) or (K, B)
        Dead directions: the dead neurons, 1 for a block of softmax or layer norm, 2 for layer norm with ε = 0, 1 for
        the sphere with ε = 0.
    """

    memory: Memory
    argument: np.ndarray
    neurons: np.ndarray
    k: np.ndarray

    @property
    def ray(self) -> np.ndarray:
        """Where V points for each dead neuron: −1 or 1, to where g is flat forever; 0 for the others, int8.

        For ReLU it is −1: V = −e_i. It is 0, too, on the bounded flat part of the soft threshold, which is a box and
        not a cone.
        """
        low, high = self.limits
        return np.where(self.neurons, np.isinf(high) * 1 - np.isinf(low) * 1, 0).astype(np.int8)

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends of the flat interval in which each dead neuron lies; NaN for the others."""
        low, high = np.full_like(self.argument, np.nan), np.full_like(self.argument, np.nan)
        for span, kind in self.memory.spans:
            x, dead = self.argument[..., span], self.neurons[..., span]
            for first, last in kind.flat(self.memory.dtype):
                inside = dead & (x >= first) & (x <= last)
                low[..., span][inside], high[..., span][inside] = first, last
        return low, high

    @property
    def reference(self) -> np.ndarray:
        """A point y_d0 of the dead cone of every state, 0 in alive directions: where it begins.

        For ReLU it is 0, for tanh ± the place where it saturates; 0 for a shift of a block; for a scale y itself, at
        variance 1 (layer norm) or length 1 (sphere).
        """
        low, high = self.limits
        point = np.where(np.isinf(low), high, np.where(np.isinf(high), low, (low + high) / 2))
        point = np.where(self.neurons, point, 0)
        for span, kind in self.memory.spans:
            if "scale" in kind.block_directions:
                spread = self._spread(span, "shift" in kind.block_directions)
                length = np.sqrt((spread**2).sum(axis=-1, keepdims=True))
                full = np.sqrt(spread.shape[-1]) if "shift" in kind.block_directions else 1.0
                point[..., span] = spread / length * full
        return np.asarray(point.astype(self.memory.dtype))

    def project_dead(self, x: Any) -> np.ndarray:
        """Return P_d x for one vector per state, of the shape of `argument`."""
        values = self._vectors(x)
        out = np.where(self.neurons, values, 0)
        for span, kind in self.memory.spans:
            part = values[..., span]
            if "shift" in kind.block_directions:
                out[..., span] += part.mean(axis=-1, keepdims=True)
            if "scale" in kind.block_directions:
                spread = self._spread(span, "shift" in kind.block_directions)
                share = (spread * part).sum(axis=-1, keepdims=True) / (spread**2).sum(axis=-1, keepdims=True)
                out[..., span] += share * spread
        return np.asarray(out)

    def project_alive(self, x: Any) -> np.ndarray:
        """Return P_a x = x − P_d x for one vector per state, of the shape of `argument`."""
        values = self._vectors(x)
        # A dead neuron is exactly 0 then, whatever the rounding of the blocks.
        return np.where(self.neurons, 0, values - np.where(self.neurons, 0, self.project_dead(values)))

    def at_reference(self) -> np.ndarray:
        """Return y_a + y_d0: the alive part of every state with the reference of its dead cone; g is the same."""
        return np.asarray(self.project_alive(self.argument) + self.reference)

    def directions(self, index: int | tuple[int, int]) -> np.ndarray:
        """Return V of one state, orthonormal columns, shape (N, k); c ≥ 0 in y + V c for the neurons with a ray."""
        ray, n = self.ray[index], self.memory.neurons
        columns = [np.eye(n)[i] * (ray[i] or 1) for i in np.flatnonzero(self.neurons[index])]
        for span, kind in self.memory.spans:
            for name in kind.block_directions:
                column = np.zeros(n)
                column[span] = 1 if name == "shift" else self._spread(span, "shift" in kind.block_directions)[index]
                columns.append(column / np.linalg.norm(column))
        return np.array(columns).reshape(-1, n).T

    def to_frame(self) -> pd.DataFrame:
        """One row per state: memory (for K memories), k, and whether neuron i is dead, dead0, dead1, …."""
        return per_state(self.k.shape, {"k": self.k}, {"dead": self.neurons})

    def in_short(self) -> str:
        """Say how many directions are dead."""
        return f"{how_many(self.neurons, 'states')}: {extent('k =', self.k)}"

    def _spread(self, span: slice, centred: bool) -> np.ndarray:
        part = self.argument[..., span]
        return np.asarray(part - part.mean(axis=-1, keepdims=True) if centred else part)

    def _vectors(self, x: Any) -> np.ndarray:
        values = np.asarray(x)
        if values.shape != self.argument.shape:
            raise ValueError(f"x must have the shape of the states, {self.argument.shape}; got {values.shape}.")
        return values


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Recovered(Result):
    """Steady states recovered from minimisers of the energy.

    Attributes
    ----------
    state : float array, shape (B, N) or (K, B, N)
    consistent : bool array, shape (B,) or (K, B)
        Whether the recovered dead part lies in the dead cone, so that g is what it was. Otherwise the state is not
        steady, and the minimiser belongs to no steady state.
    """

    state: np.ndarray
    consistent: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per state: memory (for K memories), consistent and the state y0, y1, …."""
        return per_state(self.consistent.shape, {"consistent": self.consistent}, {"y": self.state})

    def in_short(self) -> str:
        """Say how many are consistent."""
        words = np.where(self.consistent, "consistent", "not consistent")
        return f"{how_many(self.state, 'states')}: {counts(words)}"


def dead_neurons(memory: Memory, states: Any) -> DeadNeurons:
    """Find what is dead in each of many states: directions V with g(y + V c) = g(y) for all c ≥ 0.

    A neuron is dead where it lies in a flat part of its activation, flat to the last bit in the dtype of the memory,
    and Λ ≤ 1e-12 (1e-6 in float32). A saturated softmax counts as one dead direction, the shift.

    Parameters
    ----------
    memory : Memory
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)
        One state is taken as a batch of one.

    Returns
    -------
    DeadNeurons

    Raises
    ------
    TypeError, ValueError
        Where states have another width, or are NaN or infinite.
    """
    array, _ = as_states(memory, states)
    argument = arguments(memory, array)
    dead = np.zeros(argument.shape, bool)
    directions = 0
    for span, kind in memory.spans:
        x = argument[..., span]
        for low, high in kind.flat(memory.dtype):
            dead[..., span] |= (x >= low) & (x <= high)
        directions += len(kind.block_directions)
    dead &= slopes(memory, argument) <= FLAT[memory.dtype]
    return DeadNeurons(memory, argument, dead, dead.sum(axis=-1) + directions)


def recover(memory: Memory, minimiser: Any) -> Recovered:
    """Recover the steady state whose alive part minimises energy (2): y = P_a ỹ + P_d (W g(ỹ) + b).

    Proposition 4.3, where ỹ stands in place of P_a ỹ. The energy does not feel the dead part, which a minimiser may
    have anywhere in the dead cone; a steady state has it at one place, and that place need not lie in the cone: for
    one ReLU neuron with W = 1/2, b = 1 every y < 0 minimises locally, and recovery gives y = 1, while y = 2 is the
    steady state.

    Parameters
    ----------
    memory : Memory
        With variable y.
    minimiser : array_like, shape (B, N) or (N,); for K memories (K, B, N)

    Returns
    -------
    Recovered

    Raises
    ------
    ValueError
        Where the variable is another: a state u = g(W u + b) has no free dead part to recover.
    """
    refuse(memory, "recover")
    dead = dead_neurons(memory, minimiser)
    # At the reference g is the same and y of moderate size, so that W g + b = residual + y keeps its digits.
    base = dead.at_reference()
    field = residuals(memory, np.ascontiguousarray(base))[0] + base
    found = dead.project_alive(dead.argument) + dead.project_dead(field)
    before, after = activate(memory, dead.argument), activate(memory, found)
    apart = np.abs(after - before) / np.maximum(1, np.abs(before))
    close = apart.max(axis=-1) <= _ROUNDINGS * np.finfo(memory.dtype).eps
    alone = np.ndim(minimiser) == 1
    return Recovered(found[0], close[0]) if alone else Recovered(found, close)
