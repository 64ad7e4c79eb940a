"""What the equations of a memory give at states: the argument of g, g, Λ and the residual."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop import checks
from fasthop.launch import launch, of_tiles, pieces_of
from fasthop.model.memory import Memory
from fasthop_kernels.dynamics import energies as kernels


def as_states(memory: Memory, states: Any) -> tuple[np.ndarray, bool]:
    """Return states as a batch of the memory's dtype, shape (B, N) or (K, B, N), and whether one was given alone.

    Raises
    ------
    TypeError, ValueError
        Where they are of another width, NaN or infinite.
    """
    due: tuple[int | str, ...] = ("B", memory.neurons)
    if memory.count is not None:
        due = (memory.count, *due)
    array = np.asarray(states)
    alone = memory.count is None and array.ndim == 1
    return checks.real_array("states", array[None] if alone else array, memory.dtype, shape=due), alone


def owners(memory: Memory, shape: tuple[int, ...]) -> np.ndarray:
    """Return which memory each of the states of this shape belongs to, in the order of the flattened batch."""
    return np.repeat(np.arange(memory.count or 1), shape[-2])


def residuals(memory: Memory, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual and the argument of g, of the shape of the states."""
    flat = array.reshape(-1, memory.neurons)
    out, arguments = np.empty_like(flat), np.empty_like(flat)
    every = flat, owners(memory, array.shape), out, arguments
    launch(kernels.residuals, memory.tables, pieces_of(flat), *every, room=of_tiles)
    return out.reshape(array.shape), arguments.reshape(array.shape)


def arguments(memory: Memory, array: np.ndarray) -> np.ndarray:
    """Return the argument of g, y itself or W u + b, of the shape of the states."""
    return array if memory.system.residual.is_argument else residuals(memory, np.ascontiguousarray(array))[1]


def relative(residual: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the largest |residual_i| / max(1, |y_i|) of every state, what `settle` compares with its tolerance."""
    return np.asarray((np.abs(residual) / np.maximum(1, np.abs(states))).max(axis=-1))


def activate(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return g at its argument, layer by layer."""
    return np.concatenate([kind.g(arguments[..., span]) for span, kind in memory.spans], axis=-1)


def states_at(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return the steady states at which the argument of g is this."""
    if memory.system.residual.is_argument:
        return arguments
    assert memory.system.residual.is_value
    return activate(memory, arguments)


def slopes(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return the diagonal of Λ, float64: all of Λ for elementwise activations."""
    parts = [kind.slope(arguments[..., span]) for span, kind in memory.spans]
    return np.concatenate(parts, axis=-1).astype(np.float64)


def blockwise(memory: Memory) -> bool:
    """Whether some layer has neurons that depend on each other, so that Λ is not diagonal."""
    return any(kind.blockwise for _, kind in memory.spans)


def thin_curvature(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return Λ in float64 whatever the memory's dtype: its diagonal, shape (B, N), or (B, N, N) if that is not all."""
    x = arguments.astype(np.float64)
    return curvature(memory, x) if blockwise(memory) else slopes(memory, x)


def curvature(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return Λ itself, float64, shape (B, N, N), for arguments of shape (B, N)."""
    out = np.zeros((*arguments.shape, memory.neurons))
    for span, kind in memory.spans:
        x = arguments[:, span]
        if kind.blockwise:
            for j, unit in enumerate(np.eye(x.shape[1], dtype=x.dtype)):
                out[:, span, span.start + j] = kind.apply_slope(x, np.broadcast_to(unit, x.shape).copy())
        # For softmax it has digits that Λx lost.
        index = np.arange(span.start, span.stop)
        out[:, index, index] = kind.slope(x)
    return out
