"""Saddles on the boundary of a basin by edge tracking: the boundary is followed to where its flow comes to rest."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import settle_unequal, simulate
from fasthop.dynamics.evaluate import relative, residuals
from fasthop.geometry.rays import refuse_no_attractors, steady_centres, with_step
from fasthop.model.memory import Memory
from fasthop.model.norms import generic_direction
from fasthop.model.scope import refuse
from fasthop.results import Result, how_many, per_state
from fasthop.states.attractors import are_at
from fasthop.states.newton import polish
from fasthop.states.stability import LARGE, stability

#: A bracket of the boundary is bisected so often; with 16 halvings a search takes a tenth less time, with 40 a third
#: more.
_HALVINGS = 30

#: How far beside a target the first segment ends, relative to its distance.
_BEND = 0.02

#: Both ends of a bracket are followed while they are this near to each other, relative to max(1, |y_i|), in pieces of
#: this time, so many of them at most.
_TOGETHER, _PIECE, _PIECES = 1e-3, 0.5, 400

#: Brackets at most. Of 84 ways between Hebb memories (N = 200, 5 to 20 patterns, β = 4 and 8) 26 need a second one,
#: 10 a third, and one finds nothing in six.
ROUNDS = 6

#: Share of max(1, max|y|) that Newton's method may move the state at which the flow was slowest, and the residual,
#: relative to it too, from which on that is steady.
_REACH, _STEADY = 0.1, 1e-10

#: How far from a saddle its two branches are begun, and the real part that is none, relative to the largest.
_AWAY, _ZERO = 1e-3, 1e-9


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BoundarySaddles(Result):
    """Saddles on the boundary of a basin, one for each target.

    Attributes
    ----------
    state : float64 array, shape (T, N)
        NaN where none was found.
    found : bool array, shape (T,)
    """

    state: np.ndarray
    found: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per target: found and the saddle y0, y1, …."""
        return per_state(self.found.shape, {"found": self.found}, {"y": self.state})

    def in_short(self) -> str:
        """Say for how many targets one was found."""
        return f"{how_many(self.state, 'targets')}: {int(self.found.sum())} found"


def boundary_saddles(memory: Memory, attractor: Any, targets: Any, **options: Any) -> BoundarySaddles:
    """Find the saddles that the flow on the boundary of a basin leads to, from the way to each of many targets.

    The first bracket of the boundary lies on the segment from the attractor to a place beside a target, off the planes
    of symmetric memories, where there are states with more unstable directions. Its two ends are followed while they
    stay together, which is along the boundary; where the flow was slowest Newton's method begins. If it finds no saddle
    of the boundary, the bracket is made again where its ends have separated.

    A saddle is what is steady, has exactly one unstable direction, and lets a trajectory along it fall into the basin.
    In a generic gradient-like system almost every point of the boundary flows to one. Where the boundary flow rests on
    something else (a cycle, a state with more unstable directions, a fractal boundary), none is found. Two targets may
    have one saddle. Nothing is random.

    Parameters
    ----------
    memory : Memory
        One memory of at most 400 neurons, variable y or u, float64.
    attractor : array_like, shape (N,)
    targets : array_like, shape (T, N)
        States outside its basin, such as other attractors.
    **options
        Passed on to `settle`: tolerance, t_max, dt, method, escape. By default dt is half of `settle`'s own.

    Returns
    -------
    BoundarySaddles

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, the attractor is none, a target is in its basin, or the memory is too large.

    References
    ----------
    Skufca, Yorke, Eckhardt, Edge of chaos in a parallel shear flow, Physical Review Letters 96:174101, 2006.
    """
    refuse(memory, "boundary_saddles")
    if memory.dtype != np.float64:
        raise ValueError(f"memory must be float64, to tell attractors apart; got {memory.dtype.name}.")
    if memory.neurons > LARGE:
        raise ValueError(f"memory must have at most {LARGE} neurons, for whole spectra; got {memory.neurons}.")
    home = checks.real_array("attractor", attractor, np.float64, shape=(memory.neurons,))
    outer = checks.real_array("targets", targets, np.float64, shape=("T", memory.neurons)).copy()
    how = with_step(memory, options)
    refuse_no_attractors(memory, home[None], how)
    home = steady_centres(memory, home[None], np.zeros(1, np.int64))[0]
    if (within := _inside(memory, home, outer, how)).any():
        raise ValueError(f"targets[{np.flatnonzero(within)[0]}] must be outside the basin; it ends in the attractor.")
    beside = _beside(home, outer)
    outer = np.where(_inside(memory, home, beside, how)[:, None], outer, beside)

    state, found = np.full(outer.shape, np.nan), np.zeros(len(outer), bool)
    inner = np.repeat(home[None], len(outer), axis=0)
    for _ in range(ROUNDS):
        left = np.flatnonzero(~found)
        if not left.size:
            break
        inner[left], outer[left] = _bisect(memory, home, inner[left], outer[left], how)
        slowest, inner[left], outer[left] = _follow(memory, inner[left], outer[left], how)
        steady = polish(memory, slowest, reach=_REACH)
        good = steady.residual <= _STEADY
        good[good] = _bounds(memory, home, steady.state[good], (outer - inner)[left[good]], how)
        state[left[good]], found[left[good]] = steady.state[good], True
    return BoundarySaddles(state, found)


def _beside(home: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return places near the targets that no symmetry has."""
    apart = np.abs(targets - home).max(axis=1, keepdims=True)
    return np.asarray(targets + _BEND * apart * generic_direction(len(home)))


def _inside(memory: Memory, home: np.ndarray, points: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """Whether trajectories from these points end in the attractor."""
    ends = settle_unequal(memory, points, np.array([len(points)]), **how)
    one = np.zeros(len(points), np.int64)
    return np.asarray(ends.settled & are_at(memory, ends.state, ends.residual, home[None], one))


def _bisect(
    memory: Memory, home: np.ndarray, inner: np.ndarray, outer: np.ndarray, how: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return narrow brackets of the boundary on the segments from `inner` to `outer`."""
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        stays = _inside(memory, home, middle, how)[:, None]
        inner, outer = np.where(stays, middle, inner), np.where(stays, outer, middle)
    return inner, outer


def _follow(
    memory: Memory, inner: np.ndarray, outer: np.ndarray, how: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow both ends while they are together: where the flow was slowest, and where they were last together."""
    inner, outer, slowest = inner.copy(), outer.copy(), inner.copy()
    least, dt = np.full(len(inner), np.inf), float(how["dt"])
    steps = max(1, round(_PIECE / dt))
    left = np.arange(len(inner))
    for _ in range(_PIECES):
        rate = relative(residuals(memory, inner[left])[0], inner[left])
        slower = rate < least[left]
        slowest[left[slower]], least[left[slower]] = inner[left[slower]], rate[slower]
        ends = simulate(
            memory,
            np.concatenate([inner[left], outer[left]]),
            t_end=steps * dt,
            dt=dt,
            method=how.get("method", "rk4"),
        ).state
        first, second = ends[: len(left)], ends[len(left) :]
        together = (np.abs(first - second) <= _TOGETHER * np.maximum(1, np.abs(first))).all(axis=1)
        left = left[together]
        if not left.size:
            break
        inner[left], outer[left] = first[together], second[together]
    return slowest, inner, outer


def _bounds(memory: Memory, home: np.ndarray, states: np.ndarray, apart: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """Whether states are saddles of one unstable direction, along which, near to `apart`, one falls home."""
    verdict = stability(memory, states)
    assert verdict.spectrum is not None
    rates = np.nan_to_num(verdict.spectrum.real, nan=-np.inf)
    zero = _ZERO * np.maximum(1, np.abs(verdict.largest))[:, None]
    one = (verdict.verdict == "unstable") & ((rates > -zero).sum(axis=1) == 1)
    # Ends that have separated lie along the unstable direction.
    length = np.maximum(np.abs(apart).max(axis=1), np.finfo(float).tiny)
    away = (_AWAY * np.maximum(1, np.abs(states).max(axis=1)) / length)[:, None] * apart
    falls = [_inside(memory, home, states + side * away, how) for side in (-1, 1)]
    return np.asarray(one & (falls[0] | falls[1]))
