"""Structures of W: dense, blocks between layers, low rank from patterns. Each stores and computes only what it has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from fasthop import checks, fill
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.products import DIAGONAL, LOW_RANK, PLAIN, TRANSPOSED
from fasthop_kernels.mathematics import random

#: One row of the kernels' table: first row, first column, rows, columns, offset, kind, rank.
_Block = tuple[int, int, int, int, int, int, int]


class Weights:
    """What every structure has.

    Attributes
    ----------
    neurons : int
        N.
    count : int or None
        K, the number of matrices; None for one.
    blocks : int64 array, shape (n_blocks, 7)
        The table of `fasthop_kernels.dynamics.tables.Tables`.
    stored : float64 array, shape (K, S)
        The numbers of all blocks.
    symmetric : bool
        Whether every W equals its transpose to the last bit.
    held : bool array, shape (N,)
        Neurons that keep the state they start from (`clamp`).
    """

    def __init__(
        self, neurons: int, count: int | None, blocks: Sequence[Sequence[int]], stored: np.ndarray, symmetric: bool
    ):
        self.neurons, self.count, self.symmetric = neurons, count, symmetric
        self.held = np.zeros(neurons, bool)
        self.blocks = np.array(blocks, np.int64).reshape(-1, 7)
        self.stored = stored

    def __repr__(self) -> str:
        many = "" if self.count is None else f"{self.count} × "
        return f"{type(self).__name__}({many}N={self.neurons}, {self.stored.shape[1]} numbers)"

    @property
    def heard(self) -> Weights:
        """The weights that act: without those by which held neurons hold themselves."""
        return self

    @property
    def symmetric_when_held(self) -> bool:
        """Whether the weights between the neurons that are not held are symmetric."""
        return self.symmetric

    def replaced(self, stored: np.ndarray, count: int | None) -> Self:
        """Return the same structure with other numbers, of one matrix or K."""
        other = copy.copy(self)
        other.count, other.stored = count, stored
        return other

    @property
    def mirror(self) -> np.ndarray:
        """The table of Wᵀ, over the same numbers."""
        table = self.blocks[:, [1, 0, 3, 2, 4, 5, 6]]
        table[:, 5] = np.choose(table[:, 5], [TRANSPOSED, PLAIN, LOW_RANK, DIAGONAL])
        return np.ascontiguousarray(table)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return W x for one vector of each matrix, shape (K, N) to (K, N)."""
        out = np.zeros_like(x)
        for row, column, rows, columns, at, kind, rank in self.blocks.tolist():
            vector, target = x[:, column : column + columns, None], out[:, row : row + rows]
            if kind == PLAIN:
                target += np.matmul(self._matrix(at, rows, columns), vector)[..., 0]
            elif kind == TRANSPOSED:
                target += np.matmul(np.swapaxes(self._matrix(at, columns, rows), 1, 2), vector)[..., 0]
            elif kind == LOW_RANK:
                left, right = low_rank_parts(row, column, rows, columns)
                A = self._matrix(at, rank, max(rows, columns))
                target += np.matmul(np.swapaxes(A[..., left], 1, 2), np.matmul(A[..., right], vector))[..., 0]
            else:
                target += self.stored[:, at : at + rows] * vector[..., 0]
        return out

    def _matrix(self, at: int, rows: int, columns: int) -> np.ndarray:
        return self.stored[:, at : at + rows * columns].reshape(-1, rows, columns)

    def to_dense(self) -> np.ndarray:
        """Return the matrices themselves, shape (N, N) or (K, N, N)."""
        dense = np.zeros((len(self.stored), self.neurons, self.neurons))
        for row, column, rows, columns, at, kind, rank in self.blocks.tolist():
            target = dense[:, row : row + rows, column : column + columns]
            if kind == PLAIN:
                target += self._matrix(at, rows, columns)
            elif kind == TRANSPOSED:
                target += np.swapaxes(self._matrix(at, columns, rows), 1, 2)
            elif kind == LOW_RANK:
                left, right = low_rank_parts(row, column, rows, columns)
                A = self._matrix(at, rank, max(rows, columns))
                with one_blas_thread():
                    target += np.matmul(np.swapaxes(A[..., left], 1, 2), A[..., right])
            else:
                target[:, np.arange(rows), np.arange(rows)] += self.stored[:, at : at + rows]
        return dense[0] if self.count is None else dense


class Dense(Weights):
    """W as it is.

    Parameters
    ----------
    W : array_like, shape (N, N) or (K, N, N)

    Raises
    ------
    TypeError, ValueError
        Where W is not square or not finite.
    """

    def __init__(self, W: Any) -> None:
        matrix = checks.real_array("W", W, np.float64)
        if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2] or 0 in matrix.shape:
            raise ValueError(f"W must be square, of shape (N, N) or (K, N, N) with N ≥ 1; got {matrix.shape}.")
        n, count = matrix.shape[-1], matrix.shape[0] if matrix.ndim == 3 else None
        symmetric = bool(np.array_equal(matrix, np.swapaxes(matrix, -1, -2)))
        super().__init__(n, count, [(0, 0, n, n, 0, PLAIN, 0)], matrix.reshape(count or 1, n * n), symmetric)

    def to_dense(self) -> np.ndarray:
        """Return W."""
        shape = (self.neurons, self.neurons)
        return self.stored.reshape(shape if self.count is None else (self.count, *shape))


class Blocks(Weights):
    """Blocks W_ij between layers, Example 1 of arXiv 2410.13866; what is not given is zero.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer.
    blocks : mapping of (i, j) to array_like, shape (sizes[i], sizes[j]) or (K, sizes[i], sizes[j])
        Weights from layer j to layer i.
    tied : bool
        Whether W_ji = W_ijᵀ, without storing it: a block and its mirror must then not both be given, and blocks within
        a layer must be symmetric. Otherwise feedback is free, and W need not be symmetric.

    Raises
    ------
    TypeError, ValueError
        Where a block does not fit its layers, is not finite, or breaks the symmetry that `tied` asks for.
    """

    def __init__(self, sizes: Sequence[int], blocks: Mapping[tuple[int, int], Any], *, tied: bool = True) -> None:
        self.sizes = tuple(checks.whole(f"sizes[{i}]", size, least=1) for i, size in enumerate(sizes))
        if not blocks:
            raise ValueError("blocks must hold at least one block; got none.")
        edges = np.concatenate([[0], np.cumsum(self.sizes)])
        table: list[_Block] = []
        parts: list[np.ndarray] = []
        counts: set[int] = set()
        at = 0
        for key, block in blocks.items():
            i, j = self._layers(key)
            name = f"blocks[{i}, {j}]"
            matrix = checks.real_array(name, block, np.float64)
            rows, columns = self.sizes[i], self.sizes[j]
            if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (rows, columns):
                raise ValueError(f"{name} must have shape ({rows}, {columns}) or (K, …); got {matrix.shape}.")
            if tied and i == j and not np.array_equal(matrix, np.swapaxes(matrix, -1, -2)):
                raise ValueError(f"{name} must be symmetric where blocks are tied.")
            if tied and i != j and (j, i) in blocks:
                raise ValueError(f"{name} and blocks[{j}, {i}] must not both be given where blocks are tied.")
            counts.add(matrix.shape[0] if matrix.ndim == 3 else 0)
            table.append((int(edges[i]), int(edges[j]), rows, columns, at, PLAIN, 0))
            if tied and i != j:
                table.append((int(edges[j]), int(edges[i]), columns, rows, at, TRANSPOSED, 0))
            parts.append(matrix.reshape(-1, rows * columns))
            at += rows * columns
        if len(counts) > 1:
            raise ValueError(f"blocks must all be of one memory or all of K; got {sorted(counts)}.")
        count = counts.pop() or None
        # Ascending columns within a row of blocks, as in the dense matrix.
        table.sort(key=lambda entry: entry[:2])
        super().__init__(int(edges[-1]), count, table, np.concatenate(parts, axis=1), tied)

    @property
    def given(self) -> dict[tuple[int, int], slice]:
        """Where the numbers of every block that was given stand in `stored`."""
        edges = np.concatenate([[0], np.cumsum(self.sizes)]).tolist()
        return {
            (edges.index(row), edges.index(column)): slice(at, at + rows * columns)
            for row, column, rows, columns, at, kind, _ in self.blocks.tolist()
            if kind == PLAIN
        }

    def with_numbers(self, numbers: np.ndarray) -> Blocks:
        """Return one memory's blocks of the same shape, with other numbers in the order of `stored`."""
        blocks = {}
        for (i, j), part in self.given.items():
            block = numbers[part].reshape(self.sizes[i], self.sizes[j])
            blocks[i, j] = (block + block.T) / 2 if i == j and self.symmetric else block
        ordered = dict(sorted(blocks.items(), key=lambda entry: self.given[entry[0]].start))
        return Blocks(self.sizes, ordered, tied=self.symmetric)

    def _layers(self, key: Any) -> tuple[int, int]:
        pair = tuple(key) if isinstance(key, (tuple, list)) else ()
        if len(pair) != 2 or not all(isinstance(i, int) and 0 <= i < len(self.sizes) for i in pair):
            raise ValueError(f"blocks must be named by pairs of layers 0 … {len(self.sizes) - 1}; got {key!r}.")
        return pair[0], pair[1]

    @classmethod
    def chain(cls, sizes: Sequence[int], *, tied: bool = True, seed: int = 0, scale: float = 1.0) -> Blocks:
        """Return random blocks between neighbouring layers, entries uniform in ± scale √(3/(n_i + n_j)).

        Parameters
        ----------
        sizes : sequence of int
            At least two layers.
        tied : bool
            Whether W_ji is W_ijᵀ, or drawn on its own. The blocks W_{i,i+1} are the same in both.
        seed : int
        scale : float
            The entries have variance scale²/(n_i + n_j), which makes the norm of a block about `scale`.
        """
        if len(sizes) < 2:
            raise ValueError(f"sizes must name at least two layers; got {len(sizes)}.")
        forward = [(i, i + 1) for i in range(len(sizes) - 1)]
        backward = [] if tied else [(i + 1, i) for i in range(len(sizes) - 1)]
        blocks = {}
        for index, (i, j) in enumerate(forward + backward):
            entries = np.empty((1, sizes[i], sizes[j]))
            fill.uniforms(checks.seed("seed", seed), random.BLOCK, np.array([index]), 0, entries)
            blocks[i, j] = scale * np.sqrt(12 / (sizes[i] + sizes[j])) * (entries[0] - 0.5)
        return cls(sizes, blocks, tied=tied)

    def with_norm(self, norm: float) -> Blocks:
        """Return the same blocks, each scaled to this spectral norm; a block of zeros stays.

        Parameters
        ----------
        norm : float
            Positive.
        """
        goal = checks.real("norm", norm, above=0)
        scaled = copy.copy(self)
        scaled.stored = self.stored.copy()
        for _, _, rows, columns, at, _, _ in self.blocks[self.blocks[:, 5] == PLAIN].tolist():
            sizes = np.linalg.norm(self._matrix(at, rows, columns), ord=2, axis=(-2, -1))
            scaled.stored[:, at : at + rows * columns] *= (goal / np.where(sizes > 0, sizes, 1.0))[:, None]
        return scaled


class LowRank(Weights):
    """W = ξᵀξ/N of P patterns, never formed: a product costs 2 P N instead of N².

    Parameters
    ----------
    patterns : array_like, shape (P, N) or (K, P, N)
    self_coupling : bool
        Whether the diagonal is kept; otherwise it is taken away.

    Attributes
    ----------
    patterns : float64 array, shape (P, N) or (K, P, N)
    self_coupling : bool

    Raises
    ------
    TypeError, ValueError
        Where patterns have another shape or are not finite.
    """

    def __init__(self, patterns: Any, *, self_coupling: bool = False) -> None:
        xi = checks.real_array("patterns", patterns, np.float64)
        if xi.ndim not in (2, 3) or 0 in xi.shape:
            raise ValueError(f"patterns must have shape (P, N) or (K, P, N) with P, N ≥ 1; got {xi.shape}.")
        self.patterns, self.self_coupling = xi, self_coupling
        rank, n = xi.shape[-2:]
        count = xi.shape[0] if xi.ndim == 3 else None
        factors = (xi / np.sqrt(n)).reshape(-1, rank * n)
        blocks: list[_Block] = [(0, 0, n, n, 0, LOW_RANK, rank)]
        if not self_coupling:
            diagonal = (xi**2).sum(axis=-2).reshape(-1, n) / n
            blocks.append((0, 0, n, n, rank * n, DIAGONAL, 0))
            factors = np.concatenate([factors, -diagonal], axis=1)
        super().__init__(n, count, blocks, factors, True)


def low_rank_parts(row: int, column: int, rows: int, columns: int) -> tuple[slice, slice]:
    """Return which of the neurons that A of a LOW_RANK block has are its rows, and which its columns."""
    first = min(row, column)
    return slice(row - first, row - first + rows), slice(column - first, column - first + columns)


def as_weights(W: Any) -> Weights:
    """Return weights given as themselves or as a matrix."""
    return W if isinstance(W, Weights) else Dense(W)
