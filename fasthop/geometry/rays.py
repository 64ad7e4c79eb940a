"""How far a basin reaches: rays from its attractor, at random and aimed, to where they first leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fasthop import checks, fill
from fasthop.dynamics.ensemble import KINDS, Ends, default_step, default_tolerance, least_tolerance, settle_unequal
from fasthop.dynamics.evaluate import relative, residuals
from fasthop.geometry.exits import first_exits
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.states.attractors import allowed, are_at, onto_steady, without_R
from fasthop_kernels.mathematics import random

#: Share of `default_step` that rays are first followed with.
FINER = 0.5

#: A coarse step moves the boundaries between basins: a bracket is verified with this share of its step. Against a step
#: 64 times finer (Hebb, N = 60, 800 rays), half the step let 1.3 % of the brackets pass that were off by more than
#: their width, a quarter none.
CHECK = 0.25

#: A bracket that is not confirmed is made again with half the step, at most so often. Of the random rays of a Hebb
#: memory (N = 200, 10 patterns) half need a second one, a seventh a third, and none a fourth.
ROUNDS = 4

#: Rays and attractors at most: their numbers share one word of the random generator's counter.
MOST_RAYS = 2**16

#: Numbers in the states that are settled at once: 32 MiB.
_TURN = 2**22

#: Ends that say that a start is in another basin; one that is out of time says nothing.
_DECIDED = [code for code, kind in enumerate(KINDS) if kind != "unsettled"]


#: How the point beyond a crossing ends, in words; the last one where there is no crossing.
WORDS = np.array([*KINDS, ""])


class Rays(NamedTuple):
    """Rays from attractors of one or more memories, sorted by their memory.

    Attributes
    ----------
    owner : int array, shape (M,)
        The memory.
    centre : int array, shape (M,)
        The attractor, a row of the centres.
    direction : float64 array, shape (M, N)
        Of length 1; of the first N neurons where a memory has more.
    bound : float64 array, shape (M,)
    """

    owner: np.ndarray
    centre: np.ndarray
    direction: np.ndarray
    bound: np.ndarray


class Crossings(NamedTuple):
    """Where rays leave, arrays of shape (M,).

    Attributes
    ----------
    lower, upper : float64 array
        A distance at which the ray was found in the basin and one, larger, at which it was not; `upper` is infinite
        where it never left within its bound.
    overlap : float64 array
        (1/N) sign(y)·sign(y*) of the point at `lower` and the attractor.
    outside : int8 array
        How the point at `upper` ends, an index into `KINDS`; −1 where there is none.
    neighbour : int64 array
        The centre that it ends in, −1 where that is none of them.
    verified : bool array
        Whether a quarter of the step and a tenth of the tolerance find both points where they were: one in the basin,
        the other in another one or a different kind of end, not out of time.
    dt : float64 array
        The step that they were found with.
    """

    lower: np.ndarray
    upper: np.ndarray
    overlap: np.ndarray
    outside: np.ndarray
    neighbour: np.ndarray
    verified: np.ndarray
    dt: np.ndarray

    def columns(self) -> dict[str, Any]:
        """Return what a table says of them."""
        censored, outside = np.isinf(self.upper), WORDS[self.outside]
        found = {"lower": self.lower, "upper": self.upper, "censored": censored, "overlap": self.overlap}
        return found | {"outside": outside, "neighbour": self.neighbour, "verified": self.verified, "dt": self.dt}


def radii(
    memory: Memory,
    attractors: Any,
    *,
    rays: int = 100,
    saddles: Any = None,
    bound: float | None = None,
    shells: int = 12,
    precision: float = 1e-3,
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Measure how far the basin of each attractor reaches, along rays at random and rays aimed at what is near.

    A ray y* + r d is asked on shells, each √2 times further out, until it is in another basin; bisection then brackets
    the place. The rays of all attractors are settled together, in turns of bounded memory. The smallest of n random
    radii falls with n and is no margin; the rays aimed at the other attractors and at saddles, which leave earlier than
    almost all random ones, bound it from above. A ray that never leaves within the bound is censored: along saturated
    directions a basin has no end.

    Parameters
    ----------
    memory : Memory
        One memory of variable y or u, float64.
    attractors : array_like, shape (A, N)
        Attractors, as `settle` ends in them.
    rays : int
        Random directions for each attractor, uniform on the sphere; nested in the number.
    saddles : array_like, shape (S, N), optional
        Unstable steady states to aim at, such as those of `boundary_saddles` or `steady_states`.
    bound : float, optional
        How far rays are followed; by default 6 √N, six times the length of a pattern of ±1. A ray aimed at another
        attractor is followed at least to it, and one at a saddle to just beyond it: there it is outside.
    shells : int
        How many there are within the bound. A basin that a ray leaves and enters again between two of them is not seen
        to have been left there; the radius is then that of a later exit.
    precision : float
        Relative width of the brackets.
    seed : int
    **options
        Passed on to `settle`: tolerance, t_max, dt, method, escape. By default dt is half of `settle`'s own.

    Returns
    -------
    DataFrame
        A row per ray: `attractor`; `direction` ("random", "memory", "saddle"); `target`, the number of the ray, of the
        attractor or of the saddle; `distance` to the target, infinite for random rays; `lower` and `upper`, which
        bracket the radius (`upper` is infinite where `censored`); `overlap`, (1/N) sign(y)·sign(y*) at `lower`;
        `outside`, the kind of end at `upper` (empty where censored) and `neighbour`, the attractor there, −1 where it
        is none of those given; `verified`, whether a quarter of the step and a tenth of the tolerance find both ends of
        the bracket as they were (where they did not, the bracket was made again with half the step, up to three times);
        `dt`, the step.

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, or an attractor is none: a trajectory that starts there ends elsewhere.
    """
    refuse(memory, "radii")
    if memory.dtype != np.float64:
        raise ValueError(f"memory must be float64, to tell attractors apart; got {memory.dtype.name}.")
    centres = checks.real_array("attractors", attractors, np.float64, shape=("A", memory.neurons))
    aims = np.empty((0, memory.neurons))
    if saddles is not None:
        aims = checks.real_array("saddles", saddles, np.float64, shape=("S", memory.neurons))
    count = checks.whole("rays", rays, least=0, most=MOST_RAYS)
    reach = 6.0 * np.sqrt(memory.neurons) if bound is None else checks.real("bound", bound, above=0)
    steps = checks.whole("shells", shells, least=1, most=100)
    width = checks.real("precision", precision, least=1e-9, most=0.5)
    refuse_no_attractors(memory, centres, options)

    columns: dict[str, list[Any]] = {name: [] for name in ("attractor", "direction", "target", "distance")}
    parts = []
    for number, centre in enumerate(centres):
        others = np.delete(np.arange(len(centres)), number)
        groups = (
            ("random", range(count), random_directions(count, memory.neurons, number, seed), np.full(count, np.inf)),
            ("memory", others, *aimed(centre, centres[others])),
            ("saddle", range(len(aims)), *aimed(centre, aims)),
        )
        for name, targets, directions, distances in groups:
            columns["attractor"] += [number] * len(targets)
            columns["direction"] += [name] * len(targets)
            columns["target"] += list(targets)
            columns["distance"] += distances.tolist()
            parts.append(directions)
    distance = np.array(columns["distance"])
    if not distance.size:
        raise ValueError("rays must be at least 1 where there is nothing to aim at; got 0.")
    if not distance.min() > 0:
        raise ValueError("attractors and saddles must differ from each other; two of them are one.")
    cast = Rays(
        owner=np.zeros(len(distance), np.int64),
        centre=np.array(columns["attractor"]),
        direction=np.concatenate(parts),
        bound=bounds(np.array(columns["direction"]), distance, reach, width),
    )
    found = crossings(memory, centres, np.zeros(len(centres), np.int64), cast, steps, width, options)
    measured = found.columns()
    measured["outside"] = pd.Categorical(measured["outside"], pd.Index(WORDS))
    return pd.DataFrame(columns | measured)


def random_directions(
    count: int, neurons: int, number: int, seed: int, realisations: Sequence[int] = (0,)
) -> np.ndarray:
    """Return `count` directions uniform on the sphere for attractor `number`, shape (R · count, N)."""
    out = np.empty((len(realisations), count, neurons))
    if count:
        ids = np.array(realisations, np.int64)
        fill.normals(checks.seed("seed", seed), random.RAY, ids, number * MOST_RAYS, out)
    rows = out.reshape(-1, neurons)
    return np.asarray(rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True)))


def aimed(centre: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return directions and distances from a centre to targets, shapes (T, N) and (T,)."""
    apart = targets - centre
    distance = np.sqrt((apart * apart).sum(axis=1))
    return apart / np.maximum(distance, np.finfo(float).tiny)[:, None], distance


def bounds(directions: np.ndarray, distance: np.ndarray, reach: float, precision: float) -> np.ndarray:
    """Return how far rays of these kinds ("random", "memory", "saddle") are followed.

    One at a saddle has left there; a bracket's width beyond it says into which basin.
    """
    bound = np.where(np.isfinite(distance), np.maximum(distance, reach), reach)
    return np.where(directions == "saddle", distance * (1 + precision), bound)


def refuse_no_attractors(memory: Memory, centres: np.ndarray, options: dict[str, Any]) -> None:
    """Raise ValueError where a trajectory from one of the states does not end in it."""
    ends = settle_unequal(memory, centres, np.array([len(centres)]), **with_step(memory, options))
    one = np.zeros(len(centres), np.int64)
    near = np.abs(ends.state - centres) <= allowed(ends.residual)[:, None] * np.maximum(1, np.abs(centres))
    stays = ends.settled & near.all(axis=1)
    stays &= are_at(memory, ends.state, ends.residual, steady_centres(memory, centres, one), one)
    if not stays.all():
        number = int(np.flatnonzero(~stays)[0])
        raise ValueError(f"attractors[{number}] must be an attractor; a trajectory that starts there ends elsewhere.")


def steady_centres(memory: Memory, centres: np.ndarray, home: np.ndarray) -> np.ndarray:
    """Return the steady states at centres, as far as these are from them; `home` is the memory of each."""
    steady = centres.astype(np.float64)
    for number in np.unique(home).tolist():
        rows = home == number
        alone = without_R(memory, number)
        steady[rows] = onto_steady(alone, steady[rows], relative(residuals(alone, steady[rows])[0], steady[rows]))
    return steady


def crossings(
    memory: Memory,
    centres: np.ndarray,
    home: np.ndarray,
    rays: Rays,
    shells: int,
    precision: float,
    options: dict[str, Any],
    start: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Crossings:
    """Return where rays first leave the basins of their centres.

    Parameters
    ----------
    memory : Memory
        One memory, or K.
    centres : float64 array, shape (C, N)
        Attractors.
    home : int array, shape (C,)
        The memory of each.
    rays : Rays
    shells, precision
        As in `radii`.
    options : dict
        Of `settle`.
    start : callable, optional
        `start(places, owner)` gives the states of all neurons at places on the rays, of these memories; by default the
        places themselves.
    """
    begin = (lambda places, _: places) if start is None else start
    step = np.broadcast_to(with_step(memory, options)["dt"], memory.count or 1)
    steady = steady_centres(memory, centres, home)
    total = len(rays.owner)
    found = Crossings(
        lower=np.zeros(total),
        upper=np.full(total, np.inf),
        overlap=np.zeros(total),
        outside=np.full(total, -1, np.int8),
        neighbour=np.full(total, -1),
        verified=np.zeros(total, bool),
        dt=np.zeros(total),
    )

    def ends(chosen: np.ndarray, radius: np.ndarray, how: dict[str, Any]) -> Iterator[tuple[slice, Ends]]:
        size = max(1, _TURN // memory.neurons)
        for first in range(0, len(chosen), size):
            part = slice(first, first + size)
            shares = np.bincount(rays.owner[chosen[part]], minlength=memory.count or 1)
            starts = begin(_points(centres, rays, chosen[part], radius[part]), rays.owner[chosen[part]])
            yield part, settle_unequal(memory, starts, shares, **how)

    def inside(chosen: np.ndarray, radius: np.ndarray, how: dict[str, Any]) -> np.ndarray:
        out = np.zeros(len(chosen), bool)
        for part, end in ends(chosen, radius, how):
            own, owner = steady[rays.centre[chosen[part]]], rays.owner[chosen[part]]
            out[part] = end.settled & are_at(memory, end.state, end.residual, own, owner)
        return out

    left = np.arange(total)
    for again in range(ROUNDS):
        if not left.size:
            break
        coarse = options | {"dt": step / 2**again}
        fine = finer(memory, coarse)
        lower, upper = _brackets(inside, left, rays.bound[left], shells, precision, coarse)
        found.lower[left], found.upper[left], found.dt[left] = lower, upper, coarse["dt"][rays.owner[left]]
        found.outside[left], found.neighbour[left] = -1, -1
        found.verified[left] = inside(left, lower, fine)
        crossing = left[np.isfinite(upper)]
        for part, end in ends(crossing, found.upper[crossing], fine):
            these = crossing[part]
            found.outside[these] = end.status
            places = _nearest(memory, end, rays.owner[these], steady, home)
            found.neighbour[these] = places
            found.verified[these] &= np.isin(end.status, _DECIDED) & (places != rays.centre[these])
        left = left[~found.verified[left]]
    reached = _points(centres, rays, np.arange(total), found.lower)
    found.overlap[:] = np.mean(np.sign(reached) * np.sign(_origins(centres, rays, np.arange(total))), axis=1)
    return found


def _origins(centres: np.ndarray, rays: Rays, chosen: np.ndarray) -> np.ndarray:
    return np.asarray(centres[rays.centre[chosen], : rays.direction.shape[1]])


def _points(centres: np.ndarray, rays: Rays, chosen: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.asarray(_origins(centres, rays, chosen) + radius[:, None] * rays.direction[chosen])


def _brackets(
    inside: Callable[[np.ndarray, np.ndarray, dict[str, Any]], np.ndarray],
    chosen: np.ndarray,
    bound: np.ndarray,
    shells: int,
    precision: float,
    how: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Return `first_exits` of the chosen rays."""
    return first_exits(
        lambda rows, radius: inside(chosen[rows], radius, how), bound, shells=shells, precision=precision
    )


def with_step(memory: Memory, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with a step."""
    if options.get("dt") is not None:
        return dict(options)
    return options | {"dt": FINER * default_step(memory, options.get("method", "rk4"))}


def finer(memory: Memory, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a step that a verification takes: a share CHECK of it, and a tenth of the tolerance."""
    given = options.get("tolerance")
    tolerance = (default_tolerance(memory) if given is None else given) / 10
    return options | {"dt": CHECK * options["dt"], "tolerance": max(tolerance, least_tolerance(memory))}


def _nearest(memory: Memory, ends: Ends, owner: np.ndarray, steady: np.ndarray, home: np.ndarray) -> np.ndarray:
    """Return which of the steady centres of its memory each settled end is at, −1 where it is none."""
    found = np.full(len(owner), -1)
    for number, centre in enumerate(steady):
        rows = np.flatnonzero(ends.settled & (owner == home[number]))
        at = are_at(memory, ends.state[rows], ends.residual[rows], centre[None], owner[rows])
        found[rows[at]] = number
    return found
