"""How tangled the basins of a slice are: basin entropy and the uncertainty exponent of their boundary."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from fasthop import checks

#: Strips across which the uncertainty exponent is jackknifed.
_STRIPS = 10


class BasinEntropy(NamedTuple):
    """Entropies of a slice that is covered with boxes.

    Attributes
    ----------
    entropy : float
        S_b: the mean over all boxes of −Σ p ln p, with p the shares of a box's points that go to each basin.
    boundary : float
        S_bb: the mean over the boxes with more than one basin; NaN where there are none.
    boxes, boundary_boxes : int
    fractal : bool
        Whether S_bb > ln 2, which a smooth boundary cannot have where at most two basins meet in almost every box: then
        the boundary is fractal. The reverse does not hold.
    """

    entropy: float
    boundary: float
    boxes: int
    boundary_boxes: int
    fractal: bool


class UncertaintyExponent(NamedTuple):
    """How the share of uncertain points falls with the precision of a start, f(ε) ∝ ε^α.

    Attributes
    ----------
    exponent : float
        α; the boundary has the dimension D − α in a space of D dimensions, here 2 − α. 1 for a smooth one; NaN where no
        point is uncertain.
    error : float
        One standard error: of the scatter about the power law and of a jackknife over strips of the slice, together.
        NaN where fewer than two strips have uncertain points.
    epsilon : float64 array, shape (E,)
        In cells of the grid.
    uncertain : float64 array, shape (E,)
        f(ε).
    """

    exponent: float
    error: float
    epsilon: np.ndarray
    uncertain: np.ndarray


def basin_entropy(labels: Any, box: int = 5) -> BasinEntropy:
    """Return the basin entropy of a grid of labels.

    The grid is cut into boxes of `box` × `box` points; what is left at its ends does not count. Every label is a basin
    of its own: what runs away is one, and so is what does not settle, which is better avoided.

    Parameters
    ----------
    labels : int array_like, shape (A, B)
        As of `Slice`.
    box : int
        Points along the side of a box, at least 2.

    Returns
    -------
    BasinEntropy

    Raises
    ------
    TypeError, ValueError
        Where the labels are no grid of whole numbers, or the box is larger than it.

    References
    ----------
    Daza, Wagemakers, Georgeot, Guéry-Odelin, Sanjuán, Basin entropy: a new tool to analyze uncertainty in dynamical
    systems, Scientific Reports 6:31416, 2016.
    """
    grid = _grid(labels)
    side = checks.whole("box", box, least=2, most=min(grid.shape))
    rows, columns = (size // side for size in grid.shape)
    cut = grid[: rows * side, : columns * side].reshape(rows, side, columns, side)
    points = np.sort(cut.transpose(0, 2, 1, 3).reshape(rows * columns, side * side), axis=1)
    # Runs of equal labels in sorted boxes are their counts.
    begins = np.ones(points.shape, bool)
    begins[:, 1:] = points[:, 1:] != points[:, :-1]
    owner = np.nonzero(begins)[0]
    share = np.diff(np.append(np.flatnonzero(begins), points.size)) / points.shape[1]
    entropies = np.bincount(owner, special.entr(share), minlength=len(points))
    mixed = np.bincount(owner, minlength=len(points)) > 1
    total = float(entropies.sum())
    count = int(mixed.sum())
    boundary = total / count if count else np.nan
    return BasinEntropy(total / len(points), boundary, len(points), count, bool(boundary > np.log(2)))


def uncertainty_exponent(labels: Any, epsilon: Any = None) -> UncertaintyExponent:
    """Return the uncertainty exponent of the boundary in a grid of labels.

    A point is uncertain at ε along an axis where the point ε further or ε back has another label; f(ε) is the share of
    the pairs of a point and an axis that are, of those with both neighbours at the largest ε within the grid. α is the
    slope of ln f over ln ε.

    Parameters
    ----------
    labels : int array_like, shape (A, B)
        As of `Slice`.
    epsilon : int array_like, shape (E,), optional
        In cells, ascending, at least two; by default 1, 2, 4, … up to a sixteenth of the shorter side.

    Returns
    -------
    UncertaintyExponent

    Raises
    ------
    TypeError, ValueError
        Where the labels are no grid of whole numbers, or it is too small for the ε.

    References
    ----------
    McDonald, Grebogi, Ott, Yorke, Fractal basin boundaries, Physica D 17:125, 1985; Grebogi, McDonald, Ott, Yorke,
    Physics Letters A 99:415, 1983.
    """
    grid = _grid(labels)
    if epsilon is None:
        steps = 2 ** np.arange(max(2, int(np.log2(max(1, min(grid.shape) // 16))) + 1))
    else:
        steps = np.array([checks.whole("epsilon", int(e), least=1) for e in np.atleast_1d(epsilon)])
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        raise ValueError(f"epsilon must be at least two ascending whole numbers; got {steps.tolist()}.")
    if 2 * steps[-1] + _STRIPS > min(grid.shape):
        least = 2 * steps[-1] + _STRIPS
        raise ValueError(f"labels must be at least {least} × {least} for ε = {steps[-1]}; got {grid.shape}.")
    counts, points = _uncertain(grid, steps)
    counts_all, points_all = counts.sum(axis=1), points.sum()
    uncertain = counts_all / points_all
    if not counts_all.all():
        return UncertaintyExponent(np.nan, np.nan, steps.astype(float), uncertain)
    x = np.log(steps)
    slope, scatter = _line(x, np.log(uncertain))
    left = [
        _line(x, np.log(rest / (points_all - points[s])))[0]
        for s in range(points.size)
        if (rest := counts_all - counts[:, s]).all()
    ]
    several = len(left) > 1 and np.count_nonzero(counts.sum(axis=0)) > 1
    spread = (len(left) - 1) / len(left) * np.square(np.array(left) - np.mean(left)).sum() if several else np.nan
    return UncertaintyExponent(slope, float(np.sqrt(scatter**2 + spread)), steps.astype(float), uncertain)


def _uncertain(grid: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count uncertain points for every ε and strip, shape (E, 2 strips), and the points of every strip."""
    edge = int(steps[-1])
    counts, points = [], []
    for turned in (grid, grid.T):
        middle = turned[edge:-edge]
        strips = np.linspace(0, middle.shape[1], _STRIPS + 1).astype(int)
        points.append(np.diff(strips) * middle.shape[0])
        along = []
        for step in steps:
            behind, ahead = (turned[edge + s : turned.shape[0] - edge + s] for s in (-step, step))
            columns = ((middle != behind) | (middle != ahead)).sum(axis=0)
            along.append(np.add.reduceat(columns, strips[:-1]))
        counts.append(np.array(along))
    return np.concatenate(counts, axis=1), np.concatenate(points)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of a line and its standard error from the scatter about it; 0 for two points."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    off = y - y.mean() - slope * centred
    freedom = len(x) - 2
    return slope, float(np.sqrt(off @ off / freedom / (centred @ centred))) if freedom else 0.0


def _grid(labels: Any) -> np.ndarray:
    grid = np.asarray(labels)
    if grid.ndim != 2 or not np.issubdtype(grid.dtype, np.integer) or 0 in grid.shape:
        raise ValueError(f"labels must be a grid of whole numbers, (A, B); got {grid.dtype} of shape {grid.shape}.")
    return grid
