"""Trajectories in batches: `simulate` for a time, `settle` to their ends."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.launch import launch
from fasthop.model.memory import Memory
from fasthop.results import Result, counts, extent, how_many, per_state
from fasthop_kernels.dynamics import ensemble as kernels
from fasthop_kernels.dynamics.steppers import EULER, RK4, Method
from fasthop_kernels.machine.lanes import MAX_LINES, lane_line


class _Scheme(NamedTuple):
    """A method of steps.

    Attributes
    ----------
    method : Method
    limit : float
        The largest h (1 − λ) for which it is stable at a real eigenvalue λ of the Jacobian W Λ.
    faithful : float
        Share of `default_step` at which the boundaries between basins are where the flow has them. Of normal random
        starts of Hebb memories (β = 8, load .14) 7.3, 1.0 and .1 % end elsewhere at the whole, a half and a quarter of
        it by RK4 than at a 24th (N = 200, 2000 starts), and 14.8, 3.8 and .2 % (N = 400, 600 starts).
    """

    method: Method
    limit: float
    faithful: float


METHODS = {"euler": _Scheme(EULER, 2.0, 1 / 64), "rk4": _Scheme(RK4, 2.785293563405282, 1 / 4)}

#: The default step is this share of the largest stable one: half of it makes the fastest mode decay without ringing
#: (RK4: by .29 a step) and leaves room for what the eigenvalue estimate misses.
SAFETY = 0.5

#: Kinds of ends, in the order of the kernels' codes.
KINDS = ("settled", "unsettled", "diverged", "not_finite", "false_memory", "kink")

#: What rounding leaves of a residual, in units of the dtype's epsilon times the sizes of its terms.
_ROUNDINGS = 4.0

#: Smallest tolerance that rounding lets a trajectory reach, in units of the dtype's epsilon.
_FLOOR = 8.0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ends(Result):
    """Where trajectories end.

    Attributes
    ----------
    state : float array, shape (B, N) or (K, B, N)
        The state at the end; where it is not finite, as it was found.
    status : int8 array, shape (B,) or (K, B)
        Index into `KINDS`: settled, unsettled, diverged, not_finite, false_memory (ẏ vanished, the residual did not),
        kink (neither vanished, but y is held where Λ jumps; only with an R that depends on Λ).
    residual : float array, shape (B,) or (K, B)
        The largest |residual_i| / max(1, |y_i|) at the end, with the residual W g(y) − y + b.
    time : float64 array, shape (B,) or (K, B)
        Time taken: steps × dt.
    steps : int64 array, shape (B,) or (K, B)
    dt : float64 array, shape () or (K,)
    paid : int
        Lane-steps computed for all trajectories together; `steps.sum() + steps.size` are the ones needed.
    """

    state: np.ndarray
    status: np.ndarray
    residual: np.ndarray
    time: np.ndarray
    steps: np.ndarray
    dt: np.ndarray
    paid: int

    @property
    def settled(self) -> np.ndarray:
        """Whether the residual fell to the tolerance."""
        return np.asarray(self.status == kernels.SETTLED)

    @property
    def kind(self) -> np.ndarray:
        """`status` in words."""
        return np.asarray(np.array(KINDS)[self.status])

    def to_frame(self) -> pd.DataFrame:
        """One row per trajectory: memory (for K memories), kind, residual, time, steps and the state y0, y1, …."""
        columns: dict[str, Any] = {"kind": pd.Categorical(self.kind.reshape(-1), categories=list(KINDS))}
        columns |= {name: getattr(self, name) for name in ("residual", "time", "steps")}
        return per_state(self.status.shape, columns, {"y": self.state})

    def in_short(self) -> str:
        """Say how many ended how, and when."""
        return f"{how_many(self.state, 'ends')}: {counts(self.kind)}; {extent('time', self.time)}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trajectories(Result):
    """Trajectories over a fixed time.

    Attributes
    ----------
    state : float array, shape (B, N) or (K, B, N)
        The state at `t_end`.
    states : float array, shape (T, B, N) or (T, K, B, N), or None
        The states at `times`, where `save_at` was given.
    times : float64 array, shape (T,), or None
    finite : bool array, shape (B,) or (K, B)
        Whether the trajectory stayed finite; one that did not keeps the state in which that was found.
    """

    state: np.ndarray
    states: np.ndarray | None
    times: np.ndarray | None
    finite: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per time that was asked for and trajectory; without times one per trajectory.

        Columns: time, memory (for K memories), trajectory, finite and the state y0, y1, ….
        """
        number = np.broadcast_to(np.arange(self.finite.shape[-1]), self.finite.shape)
        columns = {"trajectory": number, "finite": self.finite}
        if self.states is None or self.times is None:
            return per_state(self.finite.shape, columns, {"y": self.state})
        nothing = per_state(self.finite.shape, columns, {"y": self.state}).iloc[:0]
        frames = [per_state(self.finite.shape, columns, {"y": states}) for states in self.states]
        table = pd.concat(frames or [nothing], ignore_index=True)
        table.insert(0, "time", np.repeat(self.times, self.finite.size))
        return table

    def in_short(self) -> str:
        """Say how many there are, at how many times, and whether they stayed finite."""
        kept = "" if self.times is None else f" at {len(self.times)} times, {extent('t =', self.times)}"
        lost = int((~self.finite).sum())
        return f"{how_many(self.state, 'trajectories')}{kept}: {f'{lost} not finite' if lost else 'all finite'}"


def simulate(
    memory: Memory,
    starts: Any,
    *,
    t_end: float,
    dt: float,
    method: str = "rk4",
    save_at: Any = None,
) -> Trajectories:
    """Integrate every start over the same time with a fixed step.

    Parameters
    ----------
    memory : Memory
    starts : array_like, shape (B, N); for K memories (K, B, N)
    t_end, dt : float
        Dimensionless time and step. `t_end`, and every entry of `save_at`, must be a whole number of steps.
    method : {"rk4", "euler"}
    save_at : array_like, shape (T,), optional
        Ascending times at which the states are kept.

    Returns
    -------
    Trajectories

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, a number is not finite, or a time is no whole number of steps.

    Warns
    -----
    RuntimeWarning
        Where a trajectory does not stay finite, with the number of them.
    """
    state = _starts(memory, starts)
    h = checks.real("dt", dt, above=0)
    total = _steps("t_end", checks.real("t_end", t_end, least=0), h)
    marks, times = np.array([total]), None
    if save_at is not None:
        times = checks.real_array("save_at", save_at, np.float64, shape=("T",))
        marks = np.array([_steps(f"save_at[{i}]", time, h) for i, time in enumerate(times)] + [total], np.int64)
        if (np.diff(marks) < 0).any() or marks[0] < 0:
            raise ValueError("save_at must ascend from 0 or more to t_end or less.")
    scheme = METHODS[checks.one_of("method", method, METHODS)]

    saved, done = [], 0
    finite = np.ones(state.shape[:-1], bool)
    for mark in marks:
        if mark > done:
            ends = integrate(memory, state, scheme.method, h, mark - done, tolerance=-1.0, escape=math.inf)
            # A trajectory that left the finite numbers stays as it was found: its next call ends at once.
            state, done = ends.state, mark
            finite &= ends.status != kernels.NOT_FINITE
        saved.append(state)
    if not finite.all():
        warnings.warn(f"{(~finite).sum()} of {finite.size} trajectories did not stay finite.", RuntimeWarning, 2)
    return Trajectories(state, None if times is None else np.array(saved[:-1]), times, finite)


def settle(
    memory: Memory,
    starts: Any,
    *,
    tolerance: float | None = None,
    t_max: float = 1e4,
    dt: Any = None,
    method: str = "rk4",
    escape: float = 1e9,
) -> Ends:
    """Integrate every start until it is steady, each on its own clock.

    A state is steady where the residual W g(y) − y + b is 0 neuron by neuron: |residual_i| ≤ tolerance · max(1, |y_i|),
    or what rounding leaves of it. Where that is so only because some |y_i| is above 1, max|residual| must also have
    fallen by a hundredth in the last step, so that what grows for ever, faster than the tolerance, is never steady.

    The default step keeps trajectories stable. It is the flow where cues are near their patterns; of starts that are
    far from every attractor some percent then end in another one than a fine step takes them to (`faithful_step`).

    Parameters
    ----------
    memory : Memory
    starts : array_like, shape (B, N); for K memories (K, B, N)
    tolerance : float, optional
        By default 1e-10, in float32 1e-5.
    t_max : float
        Dimensionless time after which a trajectory counts as unsettled.
    dt : float, or array_like of shape (K,), optional
        The step of every memory, or of each; by default half the largest stable one, from a bound on the Jacobian
        (`default_step`).
    method : {"rk4", "euler"}
    escape : float
        A trajectory has diverged where max|y| exceeds this.

    Returns
    -------
    Ends

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, a number is not finite, or the tolerance is below what rounding allows.
    """
    state = _starts(memory, starts)
    return _settle(memory, state, None, tolerance, t_max, dt, method, escape)


def settle_unequal(
    memory: Memory,
    starts: np.ndarray,
    sizes: np.ndarray,
    *,
    tolerance: float | None = None,
    t_max: float = 1e4,
    dt: Any = None,
    method: str = "rk4",
    escape: float = 1e9,
) -> Ends:
    """Settle starts of K memories that are not equally many: `sizes[k]` of them, one after the other, are of memory k.

    Parameters
    ----------
    memory : Memory
        K memories, or one.
    starts : array, shape (M, N)
    sizes : int array, shape (K,)
        They add up to M.
    dt : array_like, shape () or (K,), optional
    tolerance, t_max, method, escape
        As in `settle`.

    Returns
    -------
    Ends
        Arrays of shape (M, N) and (M,).
    """
    state = checks.real_array("starts", starts, memory.dtype, shape=("M", memory.neurons))
    if len(sizes) != (memory.count or 1) or int(sizes.sum()) != len(state):
        raise ValueError(f"sizes must be {memory.count or 1} numbers with the sum {len(state)}; got {sizes}.")
    return _settle(memory, state, sizes, tolerance, t_max, dt, method, escape)


def _settle(
    memory: Memory,
    state: np.ndarray,
    sizes: np.ndarray | None,
    tolerance: float | None,
    t_max: float,
    dt: Any,
    method: str,
    escape: float,
) -> Ends:
    name = checks.one_of("method", method, METHODS)
    goal = default_tolerance(memory) if tolerance is None else checks.real("tolerance", tolerance, above=0)
    floor = least_tolerance(memory)
    if goal < floor:
        raise ValueError(f"tolerance must be at least {floor:.2g} in {memory.dtype.name}; got {goal:g}.")
    h = default_step(memory, name) if dt is None else _given_step(memory, dt)
    most = np.clip(np.ceil(checks.real("t_max", t_max, above=0) / h * (1 - 1e-12)), 1, 2.0**62)
    return integrate(
        memory,
        state,
        METHODS[name].method,
        h,
        most,
        tolerance=goal,
        escape=checks.real("escape", escape, above=0),
        sizes=sizes,
    )


def _given_step(memory: Memory, dt: Any) -> np.ndarray:
    if np.ndim(dt) == 0:
        return np.asarray(checks.real("dt", dt[()] if isinstance(dt, np.ndarray) else dt, above=0))
    steps = checks.real_array("dt", dt, np.float64, shape=(memory.count or 1,))
    if not (steps > 0).all():
        raise ValueError(f"dt must be above 0; got {steps.min():g}.")
    return steps


def default_tolerance(memory: Memory) -> float:
    """Return the tolerance that `settle` takes by default."""
    return 1e-5 if memory.dtype == np.float32 else 1e-10


def least_tolerance(memory: Memory) -> float:
    """Return the smallest tolerance that rounding lets a trajectory of this memory reach."""
    return _FLOOR * float(np.finfo(memory.dtype).eps)


def default_step(memory: Memory, method: str = "rk4") -> np.ndarray:
    """Return the step that `settle` takes by default, shape () or (K,).

    Half of limit/(1 − λ), with λ ≤ 0 a lower bound on the eigenvalues of the Jacobian W Λ and the limit of the method
    on the real axis (2 for Euler, 2.785 for RK4), rounded down to ten bits. For symmetric W, λ is λ_min(W) max Λ;
    otherwise −‖W‖ max Λ.
    """
    limit = METHODS[checks.one_of("method", method, METHODS)].limit
    rate = memory.fastest_rate
    if not np.isfinite(rate).all():
        names = sorted({kind.name for _, kind in memory.spans})
        raise ValueError(
            f"dt must be given: the slope of {', '.join(names)} is not bounded, so no step is safe everywhere."
        )
    # Ten bits, so that the rounding of a linear algebra library, another one on every machine, is not in the steps; the
    # borders between them lie a little below round numbers, which eigenvalues often are.
    mantissa, exponent = np.frexp(SAFETY * limit / rate * (1 + 1e-9))
    h = np.ldexp(np.floor(mantissa * 1024) / 1024, exponent)
    return np.asarray(h[0] if memory.count is None else h)


def faithful_step(memory: Memory, method: str = "rk4") -> np.ndarray:
    """Return a step at which trajectories from hard starts end where the flow takes them, shape () or (K,).

    A share of `default_step`, which keeps a trajectory stable but moves the boundaries between basins: starts
    near one then end on its other side. What asks which basin a start is in takes this step by default.
    """
    step = default_step(memory, method)  # which knows the methods
    return np.asarray(METHODS[method].faithful * step)


def integrate(
    memory: Memory,
    starts: np.ndarray,
    method: Method,
    dt: Any,
    most_steps: Any,
    *,
    tolerance: float,
    escape: float,
    lanes: int | None = None,
    sizes: np.ndarray | None = None,
) -> Ends:
    """Run the ensemble kernel on starts that fit the memory; `lanes`, the widest tile, is not seen in the results.

    `sizes` says how many of the starts each memory has; by default all have equally many.
    """
    kind, n = memory.dtype, memory.neurons
    memories = memory.count or 1
    flat = np.require(starts, kind, ["C", "W"]).reshape(-1, n)  # numba types read-only arrays apart
    count = flat.shape[0]
    h = np.broadcast_to(np.asarray(dt, np.float64), (memories,))
    unit = _ROUNDINGS * float(np.finfo(kind).eps)
    fixed, shared = (np.minimum(unit * part, np.finfo(kind).max).astype(kind) for part in memory.rounding)
    near = (
        np.maximum(tolerance, unit + fixed.max(axis=1) + shared.max(axis=1)) if tolerance > 0 else np.full(memories, -1)
    )
    limits = kernels.Limits(
        step=h.astype(kind),
        most_steps=np.array(np.broadcast_to(np.asarray(most_steps), (memories,)), np.int64),
        tolerance=kind.type(tolerance),
        escape=kind.type(escape if escape <= float(np.finfo(kind).max) else math.inf),
        unit=kind.type(unit),
        fixed=fixed,
        shared=shared,
        near=near.astype(kind),
        kinks=memory.jumps and tolerance > 0,
    )
    ends = kernels.Ends(
        state=np.empty((count, n), kind),
        status=np.empty(count, np.int8),
        residual=np.empty(count, kind),
        steps=np.empty(count, np.int64),
    )
    shares = np.full(memories, count // memories) if sizes is None else sizes
    first = np.concatenate([[0], np.cumsum(shares)]).astype(np.int64)
    tables, scheme = memory.tables, Method(method.ahead.astype(kind), method.weight.astype(kind))
    taken, widest = np.zeros(memories, np.int64), lanes or MAX_LINES * lane_line(kind)
    pieces = int((-(-shares // lane_line(kind))).sum())
    paid = launch(kernels.work, tables, pieces, scheme, limits, flat, first, taken, widest, ends)
    shape = starts.shape[:-1]
    steps = ends.steps.reshape(shape)
    pace = np.repeat(h, shares).reshape(shape)
    return Ends(
        state=ends.state.reshape(starts.shape),
        status=ends.status.reshape(shape),
        residual=ends.residual.reshape(shape),
        time=steps * pace,
        steps=steps,
        dt=np.array(h[0] if memory.count is None else h),
        paid=sum(paid),
    )


def _starts(memory: Memory, starts: Any) -> np.ndarray:
    due: tuple[int | str, ...] = ("B", memory.neurons)
    if memory.count is not None:
        due = (memory.count, *due)
    array = checks.real_array("starts", starts, memory.dtype, shape=due)
    if array.shape[-2] == 0:
        raise ValueError("starts must hold at least one state; got none.")
    return array


def _steps(name: str, time: float, dt: float) -> int:
    """Return time / dt where that is a whole number, up to 1e-9 of a step."""
    steps = round(time / dt)
    if abs(time / dt - steps) > 1e-9 * max(1, steps):
        raise ValueError(f"{name} must be a whole number of steps dt = {dt:g}; got {time:g} = {time / dt:.6g} steps.")
    return steps
