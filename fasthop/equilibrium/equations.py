"""The map whose fixed points are the steady states, linearised there: J, and its adjoint equation for the kernels.

J is W Λ for systems (1) and (9) and Λ W for system (5), with Λ at the argument of g. A layer that is held (`clamp`)
receives nothing: its rows of W are zero, and its state is its bias.
"""

from __future__ import annotations

import copy
import itertools
from functools import cached_property
from typing import Any, Self

import numpy as np

from fasthop import checks
from fasthop.dynamics.evaluate import curvature, owners, relative, residuals, slopes, thin_curvature
from fasthop.dynamics.jacobians import flow_jacobians, jacobians
from fasthop.launch import launch
from fasthop.model.memory import Memory
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.steppers import EULER
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.linear import adjoint as kernels
from fasthop_kernels.machine.lanes import LINE, lane_line

#: Cache lines of lanes in a tile of GMRES, whose basis should stay in the caches, and in other tiles.
NARROW, WIDE = 3, 6


class Equations:
    """Steady states of a memory and what the adjoint equation needs of them.

    Parameters
    ----------
    memory : Memory
    states : float array of the memory's dtype, shape (B, N) or (K, B, N)

    Attributes
    ----------
    states, arguments : float arrays, shape (B, N), where B counts the states of all memories
        The states, and the argument of g there.
    owners : int64 array, shape (B,)
        The memory of each state.
    residual : float array, shape (B,)
        The largest |residual_i| / max(1, |y_i|), as `settle` judges it.
    tables : Tables
        Of the weights that act: without those that hold a clamped layer.
    """

    def __init__(self, memory: Memory, states: np.ndarray) -> None:
        self.memory = memory
        self.states = states.reshape(-1, memory.neurons)
        self.owners = owners(memory, states.shape)
        self.weights = memory.weights.heard
        self.tables = memory.tables._replace(blocks=self.weights.blocks, mirror=self.weights.mirror)
        found, arguments = residuals(memory, states)
        self.arguments = arguments.reshape(self.states.shape)
        self.residual = relative(found, states).reshape(-1)

    def some(self, rows: np.ndarray) -> Self:
        """Return the states of a mask of shape (B,), or of indices, with what is known of them."""
        part = copy.copy(self)
        for name in ("states", "arguments", "owners", "residual", "slopes"):
            if name in part.__dict__:
                setattr(part, name, np.ascontiguousarray(getattr(self, name)[rows]))
        return part

    # --- equations for the kernels ----------------------------------------------------------------------------------

    def problem(self, right: np.ndarray, lines: int, tolerance: float = -1.0, most: int = 2**62) -> kernels.Problem:
        """Return the adjoint equations with e = `right`, shape (B, N), in tiles of `lines` cache lines of lanes."""
        kind, wide = self.memory.dtype, lines * lane_line(self.memory.dtype)
        edges = np.searchsorted(self.owners, np.arange((self.memory.count or 1) + 1)).tolist()
        tiles = [
            (memory, at, min(at + wide, last))
            for memory, (first, last) in enumerate(itertools.pairwise(edges))
            for at in range(first, last, wide)
        ]
        return kernels.Problem(
            arguments=self.arguments,
            slopes=self.slopes.astype(kind),
            right=np.require(right, kind, ["C", "W"]),  # numba types read-only arrays apart
            tiles=np.array(tiles, np.int64).reshape(-1, 3),
            queue=np.zeros(1, np.int64),
            tolerance=kind.type(tolerance),
            most=most,
        )

    def adjoints(self) -> kernels.Adjoints:
        """Return room for what comes out, with a = 0."""
        count, kind = len(self.states), self.memory.dtype
        return kernels.Adjoints(
            state=np.zeros_like(self.states),
            between=np.full_like(self.states, np.nan),
            residual=np.full(count, np.nan, kind),
            status=np.full(count, -1, np.int8),
            products=np.zeros(count, np.int64),
        )

    def run(
        self, problem: kernels.Problem, found: kernels.Adjoints, lines: int, tables: Tables | None = None, **way: Any
    ) -> kernels.Adjoints:
        """Run the kernel on tiles of `lines` cache lines of lanes, with other weights or another system if given.

        `way` has fields of `kernels.Way` and `method`; by default it is Euler with h = 1, the backward iteration.
        """
        kind, lanes = self.memory.dtype, lines * lane_line(self.memory.dtype)
        method = way.get("method", EULER)
        tables = self.tables if tables is None else tables
        plan = kernels.Way(
            kind=way.get("kind", kernels.RUNGE_KUTTA),
            ahead=method.ahead.astype(kind),
            weight=method.weight.astype(kind),
            steps=np.array(way.get("steps", np.ones(len(self.states))), kind),
            dimensions=way.get("dimensions", 0),
            rounding=kind.type(32 * np.finfo(kind).eps),
            hessenberg=way.get("hessenberg", np.zeros((0, 0, 0), kind)),
            columns=way.get("columns", np.full(len(self.states), -1)),
        )
        kept = kernels.kept_vectors(plan.kind, plan.dimensions)

        def room(tables: Tables, workers: int) -> tuple[np.ndarray, ...]:
            return _buffers(tables, kept, lanes, workers), np.zeros((workers, lanes), np.int64)

        launch(kernels.work, tables, len(problem.tiles), plan, problem, found, room=room)
        return found

    # --- J as a matrix ----------------------------------------------------------------------------------------------

    @cached_property
    def rooted(self) -> bool:
        """Whether Λ is nowhere negative, so that J has the eigenvalues of √Λ W √Λ."""
        return self.memory.monotone

    @property
    def similar(self) -> bool:
        """Whether J is similar to a symmetric matrix, √Λ W √Λ with diagonal Λ."""
        return bool(self.memory.symmetric and self.rooted and self.pointwise.all())

    @cached_property
    def slopes(self) -> np.ndarray:
        """The diagonal of Λ, float64, shape (B, N)."""
        return slopes(self.memory, self.arguments)

    @cached_property
    def W(self) -> np.ndarray:
        """The weights that act, float64, shape (K, N, N)."""
        return self.weights.to_dense().reshape(-1, self.memory.neurons, self.memory.neurons)

    @cached_property
    def pointwise(self) -> np.ndarray:
        """Which neurons have an elementwise g, shape (N,)."""
        found = np.ones(self.memory.neurons, bool)
        for span, kind in self.memory.spans:
            found[span] = not kind.blockwise
        return found

    def Lam(self, row: int) -> np.ndarray:
        """Return Λ of one state, float64, shape (N, N)."""
        return np.asarray(curvature(self.memory, self.arguments[row : row + 1].astype(np.float64))[0])

    def jacobians(self) -> np.ndarray:
        """Return J of all states, float64, shape (B, N, N)."""
        return jacobians(*self._at)

    def framed(self) -> np.ndarray:
        """Return √Λ W √Λ of the neurons that are not held where J is `rooted`, else J of these, (B, M, M).

        Besides its eigenvalues J has 0 for every neuron that is held.
        """
        memory, Lam, W = self._at
        free = ~memory.weights.held
        inner = W[..., free, :][..., free]
        if not self.rooted:
            return jacobians(memory, Lam, W)[:, free][:, :, free]
        if Lam.ndim == 2:
            root = np.sqrt(Lam[:, free])
            return np.asarray(root[:, :, None] * inner * root[:, None, :])
        with one_blas_thread():
            roots = self._roots(Lam)[:, free][:, :, free]
            return np.asarray(np.matmul(np.matmul(roots, inner), roots))

    def _roots(self, Lam: np.ndarray) -> np.ndarray:
        """Return √Λ of whole Λ, (B, N, N), block by block."""
        roots = np.zeros_like(Lam)
        for span, kind in self.memory.spans:
            part = Lam[:, span, span]
            if kind.blockwise:
                values, vectors = np.linalg.eigh(part)
                turned = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
                roots[:, span, span] = np.matmul(turned, np.swapaxes(vectors, 1, 2))
            else:
                roots[:, span, span] = np.sqrt(part)
        return roots

    def flow_jacobians(self) -> np.ndarray:
        """Return R (J − I) of all states, of the system that reached them, float64, shape (B, N, N)."""
        return flow_jacobians(*self._at, None if self.memory.count is None else self.owners)

    @property
    def _at(self) -> tuple[Memory, np.ndarray, np.ndarray]:
        """What `fasthop.dynamics.jacobians` asks for: the memory, Λ, and W of each state."""
        W = self.W[0] if self.memory.count is None else self.W[self.owners]
        return self.memory, thin_curvature(self.memory, self.arguments), W


def _buffers(tables: Tables, kept: int, lanes: int, workers: int) -> np.ndarray:
    """Allocate `kernels.Room` for every worker, aligned to cache lines."""
    dtype = np.dtype(tables.bias.dtype)
    line = lane_line(dtype)
    count = -(-kernels.room_size(tables, kept, lanes) // line) * line
    raw = np.empty(workers * count + line, dtype)
    first = (-raw.ctypes.data % LINE) // dtype.itemsize
    return raw[first : first + workers * count].reshape(workers, count)


def states_of(memory: Memory, name: str, states: Any) -> tuple[np.ndarray, bool]:
    """Return states as an array (B, N) or (K, B, N), and whether there was one without a batch.

    Ends that are not finite are let through: one of them must not stop the others.
    """
    due: tuple[int | str, ...] = ("B", memory.neurons)
    if memory.count is not None:
        due = (memory.count, *due)
    array = np.asarray(states)
    alone = memory.count is None and array.ndim == 1
    array = array[None] if alone else array
    lost = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    found = checks.real_array(name, np.where(lost, 0, array), memory.dtype, shape=due)
    found[lost] = np.nan
    return found, alone
