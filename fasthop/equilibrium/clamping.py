"""Layers that are held at their inputs while the others settle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from fasthop import checks
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.model.weights import Weights
from fasthop_kernels.dynamics.products import DIAGONAL, PLAIN, TRANSPOSED


class Clamped(Weights):
    """Weights in which held neurons receive nothing but themselves, so that W y − y is 0 for them whatever they are.

    Attributes
    ----------
    free : Weights
        Of the memory that was clamped; its numbers are the first of `stored`.
    """

    def __init__(self, free: Weights, spans: Sequence[tuple[int, int]]) -> None:
        n, k, at = free.neurons, len(free.stored), free.stored.shape[1]
        held, own = np.zeros(n, bool), []
        for first, last in spans:
            held[first:last] = True
            own.append((first, first, last - first, last - first, at, DIAGONAL, 0))
            at += last - first
        stored = np.concatenate([free.stored, np.ones((k, at - free.stored.shape[1]))], axis=1)
        table = [part for block in free.blocks.tolist() for part in self._not_held(block, held)]
        super().__init__(n, free.count, [*table, *own], stored, False)
        self.free, self.held = free, held
        self._heard = Weights(n, free.count, table, stored, False)

    @property
    def heard(self) -> Weights:
        """The rows of the other neurons alone."""
        return self._heard

    @property
    def symmetric_when_held(self) -> bool:
        """Whether those of the memory that was clamped are."""
        return self.free.symmetric

    def replaced(self, stored: np.ndarray, count: int | None) -> Self:
        """Return the same structure with other numbers, of all its parts."""
        other = super().replaced(stored, count)
        other.free = self.free.replaced(stored[:, : self.free.stored.shape[1]], count)
        other._heard = self._heard.replaced(stored, count)
        return other

    @staticmethod
    def _not_held(block: list[int], held: np.ndarray) -> list[list[int]]:
        """Return the rows of a block that are not held, as blocks over the same numbers."""
        row, column, rows, columns, at, kind, rank = block
        inside = held[row : row + rows]
        if not inside.any():
            return [block]
        if inside.all():
            return []
        edges = np.flatnonzero(np.diff(np.concatenate([[True], inside, [True]]).astype(int)))
        pairs = edges.reshape(-1, 2).tolist()
        if kind == DIAGONAL:
            return [[row + a, column + a, b - a, b - a, at + a, kind, 0] for a, b in pairs]
        if kind == TRANSPOSED:  # the kernels have no step for a part of a stored row, but each column is one
            columns_of_one = [(j, a, b) for j in range(columns) for a, b in pairs]
            return [[row + a, column + j, b - a, 1, at + j * rows + a, kind, 0] for j, a, b in columns_of_one]
        step = columns if kind == PLAIN else 0
        return [[row + a, column, b - a, columns, at + a * step, kind, rank] for a, b in pairs]


def clamp(memory: Memory, layers: Sequence[int]) -> Memory:
    """Return the memory whose given layers keep the state they start from, while the others settle.

    Parameters
    ----------
    memory : Memory
        One or K memories of variable y or u with R = I and weights of any structure, which the gradient keeps. Held
        layers must have the identity as their activation.
    layers : sequence of int
        Which layers are held; a negative one counts from the end.

    Returns
    -------
    Memory
        Of the same neurons. Its steady states are those of the free layers at the inputs that the held ones start from.

    Raises
    ------
    TypeError, ValueError
        Where a layer does not exist or is not of the identity, R is not I, or the variable is v.
    """
    refuse(memory, "clamp")
    most = len(memory.layers)
    edges = np.concatenate([[0], np.cumsum([layer.neurons for layer in memory.layers])]).tolist()
    chosen = sorted({checks.whole("layers", layer, least=-most, most=most - 1) % most for layer in layers})
    for layer in chosen:
        if (name := memory.spans[layer][1].name) != "identity":
            raise ValueError(f"layers[{layer}] must have the identity as its activation to be held; got {name!r}.")
    free = memory.weights
    if isinstance(free, Clamped):  # what is held stays held
        chosen = sorted({*chosen, *(layer for layer in range(most) if free.held[edges[layer]])})
        free = free.free
    weights = Clamped(free, [(edges[layer], edges[layer + 1]) for layer in chosen])
    b = np.where(weights.held, 0.0, memory.b)
    return Memory(weights, b, layers=memory.layers, tau=memory.tau, variable=memory.variable, dtype=memory.dtype)
