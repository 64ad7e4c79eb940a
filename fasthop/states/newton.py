"""Newton's method on the equations of a steady state, from states that are nearly one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.evaluate import as_states, relative, residuals, thin_curvature
from fasthop.dynamics.jacobians import jacobians
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.results import Result, extent, how_many, per_state
from fasthop.runtime import one_blas_thread

#: Steps of Newton's method at most: near a steady state each squares the error.
_STEPS = 20

#: Numbers in the matrices of one batch: 128 MiB.
_BATCH = 2**24


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Polished(Result):
    """States moved onto the steady states next to them.

    Attributes
    ----------
    state : float array, shape (B, N)
    residual : float array, shape (B,)
        The largest |residual_i| / max(1, |y_i|), never more than before.
    moved : float array, shape (B,)
        max|change|; 0 where no step made the residual smaller.
    """

    state: np.ndarray
    residual: np.ndarray
    moved: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per state: residual, moved and the state y0, y1, …."""
        return per_state(self.residual.shape, {"residual": self.residual, "moved": self.moved}, {"y": self.state})

    def in_short(self) -> str:
        """Say how far they moved, and what residual is left."""
        return f"{how_many(self.state, 'states')}: {extent('residual', self.residual)}; {extent('moved', self.moved)}"


def polish(memory: Memory, states: Any, *, reach: Any = 1e-3) -> Polished:
    """Move states onto the steady states next to them by Newton's method; a state that would go far stays.

    A dead neuron has no column in W Λ, so a step solves for the alive ones and sets the dead ones after them. One that
    is held (`clamp`) stays where it is.

    Parameters
    ----------
    memory : Memory
        One memory.
    states : array_like, shape (B, N) or (N,)
        One state is taken as a batch of one.
    reach : float, or array_like of shape (B,)
        A step that takes some neuron further than `reach` · max(1, |y_i|) from where it was given is not made: it could
        lead into another basin.

    Returns
    -------
    Polished
    """
    refuse(memory, "polish")
    array, _ = as_states(memory, states)
    within = np.broadcast_to(np.asarray(reach, np.float64), len(array))
    if not (within > 0).all():
        raise ValueError(f"reach must be above 0; got {within.min():g}.")
    size = max(1, _BATCH // memory.neurons**2)
    with one_blas_thread():
        parts = [_polish(memory, array[at : at + size], within[at : at + size]) for at in range(0, len(array), size)]
    if not parts:
        return Polished(array, np.empty(0, array.dtype), np.empty(0, array.dtype))
    return Polished(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _polish(memory: Memory, given: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the moved states, their residuals, and how far they moved."""
    state = given.copy()
    left, arguments = residuals(memory, state)
    size = relative(left, state)
    limit = reach[:, None] * np.maximum(1, np.abs(given))
    active = np.flatnonzero(size > 0)
    for _ in range(_STEPS):
        if not active.size:
            break
        step = _newton_step(memory, left[active], arguments[active])
        trial = (state[active] + step).astype(state.dtype)
        near = np.isfinite(trial).all(axis=1)
        near[near] = (np.abs(trial[near] - given[active[near]]) <= limit[active[near]]).all(axis=1)
        active, trial = active[near], trial[near]
        if not active.size:
            break
        new_left, new_arguments = residuals(memory, np.ascontiguousarray(trial))
        new_size = relative(new_left, trial)
        better = new_size < size[active]
        active = active[better]
        state[active], left[active], arguments[active] = trial[better], new_left[better], new_arguments[better]
        size[active] = new_size[better]
    return state, size, np.abs(state - given).max(axis=1)


def _newton_step(memory: Memory, left: np.ndarray, arguments: np.ndarray) -> np.ndarray:
    J = jacobians(memory, thin_curvature(memory, arguments), memory.weights.heard.to_dense())
    matrix, due = np.eye(memory.neurons) - J, left[..., None].astype(np.float64)
    try:
        return np.asarray(np.linalg.solve(matrix, due)[..., 0])
    except np.linalg.LinAlgError:
        return np.stack([_shortest_step(*pair) for pair in zip(matrix, due[..., 0], strict=True)])


def _shortest_step(matrix: np.ndarray, due: np.ndarray) -> np.ndarray:
    """Return the solution of one system; where it is singular to the last bit the shortest will do."""
    try:
        return np.asarray(np.linalg.solve(matrix, due))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(matrix) @ due)
