"""Two-dimensional slices through basins: where every point of a grid on a plane ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import KINDS, settle
from fasthop.geometry.rays import finer, steady_centres, with_step
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.results import Result
from fasthop.states.attractors import are_at, identify

#: Numbers in the states that are settled at once: 32 MiB.
_TURN = 2**22

#: Where in their cells the points stand. In the middle, those of a symmetric plane would stand on the boundaries of a
#: symmetric memory, a = 0 or a = ± b, and end in its saddles.
_OFFSET = (0.618033988749895, 0.236067977499790)

#: Points of a grid along one side at most.
_MOST = 20_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Slice(Result):
    """Where the points of a grid on a plane end.

    Attributes
    ----------
    labels : int64 array, shape (A, B)
        Of the point origin + a[i] e₁ + b[j] e₂: the attractor, a row of `attractors`; −1 − k where it does not settle,
        with k the kind of its end in `fasthop.dynamics.ensemble.KINDS`.
    time : float64 array, shape (A, B)
        To the end.
    a, b : float64 arrays, shape (A,) and (B,)
    attractors : float array, shape (M, N)
        Numbered by their first point, the known ones before. A point on a boundary ends in a saddle, which is one.
    checked, changed : int
        Points beside a boundary that were followed again with a quarter of the step and a tenth of the tolerance, and
        how many of these then end elsewhere.
    """

    labels: np.ndarray
    time: np.ndarray
    a: np.ndarray
    b: np.ndarray
    attractors: np.ndarray
    checked: int = 0
    changed: int = 0

    def to_frame(self) -> pd.DataFrame:
        """One row per point: a, b, label, time."""
        a, b = np.meshgrid(self.a, self.b, indexing="ij")
        columns = {"a": a, "b": b, "label": self.labels, "time": self.time}
        return pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()})

    def in_short(self) -> str:
        """Say how fine it is, and how many attractors it meets."""
        open_ones = int((self.labels < 0).sum())
        met = len(np.unique(self.labels[self.labels >= 0]))
        size = " × ".join(map(str, self.labels.shape))
        return f"{size} points: {met} attractors{f', {open_ones} not settled' if open_ones else ''}"

    def plot(self, path: str | Path, names: Mapping[int, str] | None = None, title: str = "") -> None:
        """Draw the slice as PNG, one colour for each of its largest basins.

        Parameters
        ----------
        path : path-like
        names : mapping of int to str, optional
            What to call attractors; by default "attractor 0", ….
        title : str
        """
        from fasthop.plots.slices import picture

        picture(self.labels, self.a, self.b, Path(path), names=names or {}, title=title)


def basin_slice(
    memory: Memory,
    origin: Any,
    e1: Any,
    e2: Any,
    *,
    extent: tuple[float, float, float, float] = (-1.5, 1.5, -1.5, 1.5),
    resolution: int | tuple[int, int] = 200,
    attractors: Any = None,
    check: int = 400,
    **options: Any,
) -> Slice:
    """Follow every point origin + a e₁ + b e₂ of a grid to its end.

    Ends are matched by g, as in `basins`: dead neurons have no part in them. The points stand in equal cells that
    tile the extent, off their middles, so that few lie on the boundaries of a symmetric memory. The grid is settled in
    turns; memory does not grow with it but for the labels. A coarse step moves boundaries: points beside one, with
    another label than one of their four neighbours, are followed again with a finer step to count those that change.

    Parameters
    ----------
    memory : Memory
        One memory of variable y or u.
    origin, e1, e2 : array_like, shape (N,)
        e₁ and e₂ need not be of length 1, nor at right angles.
    extent : (float, float, float, float)
        From and to which a and b go.
    resolution : int or (int, int)
        Points along a and b.
    attractors : array_like, shape (M, N), optional
        Known attractors, which then have the first numbers whether the slice meets them or not.
    check : int
        Points beside a boundary to follow again, evenly chosen; all of them where they are fewer.
    **options
        Passed on to `settle`: tolerance, t_max, dt, method, escape. By default dt is half of `settle`'s own.

    Returns
    -------
    Slice

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, or e₁ and e₂ are parallel.
    """
    refuse(memory, "basin_slice")
    base, first, second = (
        checks.real_array(name, value, memory.dtype, shape=(memory.neurons,))
        for name, value in (("origin", origin), ("e1", e1), ("e2", e2))
    )
    if memory.neurons < 2 or np.linalg.matrix_rank(np.stack([first, second])) < 2:
        raise ValueError("e1 and e2 must span a plane; they are parallel or zero.")
    a, b = axes(extent, resolution)
    most = checks.whole("check", check, least=0)
    known = None
    if attractors is not None:
        known = checks.real_array("attractors", attractors, memory.dtype, shape=("M", memory.neurons))

    def starts(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(base + x[:, None] * first + y[:, None] * second)

    return label_plane(memory, starts, a, b, known=known, check=most, options=options)


def label_plane(
    memory: Memory,
    starts: Callable[[np.ndarray, np.ndarray], np.ndarray],
    a: np.ndarray,
    b: np.ndarray,
    *,
    known: np.ndarray | None = None,
    check: int,
    options: dict[str, Any],
) -> Slice:
    """Return the slice of the states `starts(x, y)`, shape (M, N), of points at x of `a` and y of `b`, shape (M,)."""
    how = with_step(memory, options)
    if known is None:
        known = np.empty((0, memory.neurons))
    known = steady_centres(memory, known, np.zeros(len(known), np.int64))

    def points(numbers: np.ndarray) -> np.ndarray:
        i, j = np.divmod(numbers, len(b))
        return starts(a[i], b[j])

    centres, labels = known, np.empty(len(a) * len(b), np.int64)
    time = np.empty(len(a) * len(b))
    size = max(1, _TURN // memory.neurons)
    for start in range(0, labels.size, size):
        numbers = np.arange(start, min(start + size, labels.size))
        ends = settle(memory, points(numbers), **how)
        # The attractors so far stand before the ends of this turn and so keep their numbers.
        found = identify(
            memory,
            np.concatenate([centres.astype(memory.dtype), ends.state]),
            np.concatenate([np.zeros(len(centres)), ends.residual]),
            np.concatenate([np.ones(len(centres), bool), ends.settled]),
        )
        mine = found.labels[len(centres) :]
        labels[numbers] = np.where(ends.settled, mine, -1 - ends.status.astype(np.int64))
        time[numbers] = ends.time
        if len(np.unique(found.labels[: len(known)])) < len(known):
            raise ValueError("attractors must differ from each other; two of them are one.")
        centres = found.state
    grid = labels.reshape(len(a), len(b))
    beside = np.flatnonzero(_beside(grid))
    chosen = beside[np.linspace(0, len(beside) - 1, min(check, len(beside))).astype(np.int64)]
    stays = _stays(memory, points(chosen), labels[chosen], centres, finer(memory, how))
    return Slice(grid, time.reshape(grid.shape), a, b, centres, len(chosen), int((~stays).sum()))


def _beside(grid: np.ndarray) -> np.ndarray:
    """Whether each point has another label than one of its four neighbours."""
    out = np.zeros(grid.shape, bool)
    across, along = grid[1:] != grid[:-1], grid[:, 1:] != grid[:, :-1]
    out[1:] |= across
    out[:-1] |= across
    out[:, 1:] |= along
    out[:, :-1] |= along
    return out


def _stays(
    memory: Memory, points: np.ndarray, labels: np.ndarray, attractors: np.ndarray, how: dict[str, Any]
) -> np.ndarray:
    """Whether points still end as their labels say."""
    stays = np.zeros(len(points), bool)
    size = max(1, _TURN // memory.neurons)
    for start in range(0, len(points), size):
        part = slice(start, start + size)
        ends, which = settle(memory, points[part], **how), labels[part]
        stays[part] = np.where(ends.settled, which >= 0, which == -1 - ends.status.astype(np.int64))
        at = np.flatnonzero(ends.settled & (which >= 0))
        one = np.zeros(len(at), np.int64)
        stays[start + at] = are_at(memory, ends.state[at], ends.residual[at], attractors[which[at]], one)
    return stays


def kind_of(label: int) -> str:
    """Return how a point with a negative label ends."""
    return KINDS[-1 - label]


def axes(extent: Any, resolution: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of points in equal cells along both sides."""
    ends = checks.real_array("extent", extent, np.float64, shape=(4,)).reshape(2, 2)
    if not (ends[:, 0] < ends[:, 1]).all():
        raise ValueError(f"extent must go up from its first to its second number, twice; got {extent}.")
    counts = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    if len(counts) != 2:
        raise ValueError(f"resolution must be one or two whole numbers; got {resolution}.")
    sizes = [checks.whole("resolution", count, least=1, most=_MOST) for count in counts]
    a, b = (
        low + (high - low) * (np.arange(size) + offset) / size
        for (low, high), size, offset in zip(ends, sizes, _OFFSET, strict=True)
    )
    return a, b
