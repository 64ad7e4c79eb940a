"""Learning by the gradient through the equilibrium: a memory that answers inputs with targets."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks, fill
from fasthop.dynamics.ensemble import Ends, default_step, settle
from fasthop.equilibrium.adjoints import SOLVED, SOLVERS, solve
from fasthop.equilibrium.clamping import clamp
from fasthop.equilibrium.gradients import derivatives
from fasthop.equilibrium.linearised import Linearised
from fasthop.files import read_file, replace_file
from fasthop.model.memory import Memory
from fasthop.model.norms import norm
from fasthop.model.scope import refuse
from fasthop.model.weights import Blocks, Dense, LowRank, Weights
from fasthop.npy import arrays_of
from fasthop.results import Result
from fasthop.training.losses import LOSSES
from fasthop.training.optimisers import SGD, Adam
from fasthop_kernels.mathematics import random


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit(Result):
    """What was learned.

    Attributes
    ----------
    memory : Memory
    history : pandas.DataFrame
        A row per epoch: `epoch`, `loss` (mean over the samples that settled), `refused` (samples that did not settle or
        were not solved, and did not count), `steps` (mean steps of a forward run), `norm` (an upper estimate of ‖W‖₂),
        and `lambda_max`, the largest of the last batch.
    """

    memory: Memory
    history: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """`history`."""
        return self.history

    def in_short(self) -> str:
        """Say how long it learned, and how the loss fell."""
        loss = self.history["loss"].to_numpy()
        fell = f"loss {loss[0]:.4g} to {loss[-1]:.4g}" if len(loss) else "nothing learned"
        return f"{len(loss)} epochs: {fell}; {self.memory!r}"


def respond(memory: Memory, inputs: Any, *, held: int = 0, tolerance: float = 1e-8, t_max: float = 1e3) -> Ends:
    """Settle a memory whose layer `held` is held at each of the inputs, from y = 0 elsewhere.

    Parameters
    ----------
    memory : Memory
        One memory; its held layer has the identity as its activation.
    inputs : array_like, shape (B, n)
    held : int
        Index of the layer.
    tolerance, t_max : float
        As in `settle`.

    Returns
    -------
    Ends
        Of all neurons; `layer_of` cuts a layer out.
    """
    refuse(memory, "respond")
    clamped, start = clamp(memory, [held]), layer_of(memory, held)
    given = checks.real_array("inputs", inputs, memory.dtype, shape=("B", start.stop - start.start))
    starts = np.zeros((len(given), memory.neurons), memory.dtype)
    starts[:, start] = given
    return settle(clamped, starts, tolerance=tolerance, t_max=t_max, dt=float(_step(memory, start)))


def layer_of(memory: Memory, index: int) -> slice:
    """Return the neurons of a layer; a negative index counts from the end."""
    most = len(memory.layers)
    return [part for part, _ in memory.spans][checks.whole("layer", index, least=-most, most=most - 1)]


def fit(
    memory: Memory,
    inputs: Any,
    targets: Any,
    *,
    held: int = 0,
    read: int = -1,
    loss: str = "squared",
    optimiser: SGD | Adam | None = None,
    epochs: int = 20,
    batch: int = 64,
    decay: float = 0.0,
    most_norm: float | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
    t_max: float = 300.0,
    solver: str = "gmres",
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Fit:
    """Learn W and b by descent on a loss of the layer `read` at the steady state, while the layer `held` is held.

    A structure keeps itself: tied blocks stay tied, a dense W that is symmetric stays so, and of low-rank weights the
    patterns are learned. The result depends on neither the number of threads nor interruptions.

    Parameters
    ----------
    memory : Memory
        One memory of variable y or u with R = I, no layer held yet, with the weights to start from.
    inputs : array_like, shape (B, n_held)
    targets : array_like, shape (B, n_read)
    held, read : int
        Indices of layers. The activation of the held one is the identity.
    loss : {"squared", "logistic", "cross_entropy"}
        Of y (or u) of the read layer, not of g: `fasthop.training.losses`.
    optimiser : SGD or Adam, optional
        Adam by default. Its rate falls to 0 along half a cosine.
    epochs, batch : int
        Passes through the samples, in an order that `seed` and the epoch decide; samples per step.
    decay : float
        Weight decay: decay · W is added to the gradient; for low-rank weights decay times the patterns.
    most_norm : float, optional
        W is scaled back to this norm where it exceeds it. Below 1/max Λ every state is a contraction.
    seed : int
    tolerance, t_max : float
        Of the forward runs, as in `settle`; the backward ones have the same tolerance.
    solver : str
        As in `gradient`.
    checkpoint : path, optional
        A file that is replaced after every epoch. Where it exists the fit goes on from it.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    Fit

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit, a target is none of the loss, or the checkpoint is of another fit.
    """
    refuse(memory, "fit")
    if not isinstance(memory.weights, (Dense, Blocks, LowRank)):
        raise ValueError(f"memory must have weights that are a matrix, Blocks or LowRank; got {memory.weights!r}.")
    clamp(memory, [held])  # refuses what cannot be held
    at, out = layer_of(memory, held), layer_of(memory, read)
    if at == out:
        raise ValueError("read must be another layer than held.")
    given = checks.real_array("inputs", inputs, np.float64, shape=("B", at.stop - at.start))
    due = checks.real_array("targets", targets, np.float64, shape=(len(given), out.stop - out.start))
    rule = LOSSES[checks.one_of("loss", loss, LOSSES)]
    if not rule.fits(due):
        raise ValueError(f"targets must be {rule.meant} for loss = {loss!r}.")
    checks.one_of("solver", solver, ("auto", *SOLVERS))
    epochs, batch = checks.whole("epochs", epochs, least=0), checks.whole("batch", batch, least=1)
    decay = checks.real("decay", decay, least=0)
    most_norm = None if most_norm is None else checks.real("most_norm", most_norm, above=0)
    seed, descent = checks.seed("seed", seed), Adam() if optimiser is None else optimiser
    how = _How(held, loss, descent, epochs, batch, decay, most_norm, seed, tolerance, t_max, solver)
    theta = parameters(memory)
    state = _State(theta, descent.start(theta.size), [])
    path = None if checkpoint is None else Path(checkpoint)
    name = _name(memory, theta, given, due, out, how)
    if path is not None:
        state = _resumed(path, name, state)
    with _bar(epochs, progress) as advance:
        for epoch in range(len(state.history), epochs):
            state.history.append(_train_once(memory, state, given, due, out, how, epoch))
            if path is not None:
                _write(path, name, state)
            advance()
    history = pd.DataFrame(np.array(state.history).reshape(-1, len(_MEASURED)), columns=list(_MEASURED))
    history = history.astype({"refused": np.int64})
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    return Fit(with_parameters(memory, state.theta), history)


_MEASURED = ("loss", "refused", "steps", "norm", "lambda_max")
_ROW = (len(_MEASURED),)


@dataclasses.dataclass(frozen=True)
class _How:
    """The options of a fit."""

    held: int
    loss: str
    optimiser: SGD | Adam
    epochs: int
    batch: int
    decay: float
    most_norm: float | None
    seed: int
    tolerance: float
    t_max: float
    solver: str


@dataclasses.dataclass
class _State:
    """Where a fit is after an epoch."""

    theta: np.ndarray
    moments: np.ndarray
    history: list[tuple[float, ...]]


def _train_once(
    memory: Memory, state: _State, inputs: np.ndarray, targets: np.ndarray, out: slice, how: _How, epoch: int
) -> tuple[float, ...]:
    """Go through all samples once; update the state and return a row of its history."""
    order = _order(how.seed, epoch, len(inputs))
    per_epoch = -(-len(inputs) // how.batch)
    total, counted, steps = 0.0, 0, 0
    for step in range(per_epoch):
        chosen = np.sort(order[step * how.batch : (step + 1) * how.batch])
        found = _descend(with_parameters(memory, state.theta), inputs[chosen], targets[chosen], out, how)
        slope, taken = found.slope, epoch * per_epoch + step
        slope[: -memory.neurons] += how.decay * state.theta[: -memory.neurons]
        share = 0.5 * (1 + math.cos(math.pi * taken / (how.epochs * per_epoch)))
        state.theta += how.optimiser.move(slope, state.moments, taken + 1, share)
        if how.most_norm is not None:
            _scale_back(memory, state.theta, how.most_norm)
        total, counted, steps = total + found.loss, counted + found.counted, steps + found.steps
    size = float(norm(with_parameters(memory, state.theta).weights)[0])
    mean = total / counted if counted else math.nan
    return mean, len(inputs) - counted, steps / len(inputs), size, float(np.max(found.linear.spectrum.lambda_max))


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of the samples in an epoch."""
    keys = np.empty((1, 1, count))
    fill.uniforms(seed, random.SHUFFLE, np.array([epoch]), 0, keys)
    return np.argsort(keys[0, 0], kind="stable")


# --- the free parameters of a memory ---------------------------------------------------------------------------------


def parameters(memory: Memory) -> np.ndarray:
    """Return the free numbers of dense W, of all blocks or of the patterns, and of b, as one vector."""
    weights = memory.weights
    free = weights.patterns if isinstance(weights, LowRank) else weights.stored
    return np.concatenate([free.reshape(-1), memory.b.astype(np.float64)])


def with_parameters(memory: Memory, theta: np.ndarray) -> Memory:
    """Return a memory of the same structure with other numbers."""
    values, b = theta[: -memory.neurons], theta[-memory.neurons :]
    return Memory(
        _made(memory.weights, values),
        b,
        layers=memory.layers,
        tau=memory.tau,
        variable=memory.variable,
        dtype=memory.dtype,
    )


def _made(weights: Weights, values: np.ndarray) -> Weights:
    n = weights.neurons
    if isinstance(weights, Blocks):
        return weights.with_numbers(values)
    if isinstance(weights, LowRank):
        return LowRank(values.reshape(-1, n), self_coupling=weights.self_coupling)
    W = values.reshape(n, n)
    return Dense((W + W.T) / 2 if weights.symmetric else W)


def _scale_back(memory: Memory, theta: np.ndarray, most: float) -> None:
    size = float(norm(_made(memory.weights, theta[: -memory.neurons]))[0])
    if size > most:
        patterns = isinstance(memory.weights, LowRank)  # of which W is the square
        theta[: -memory.neurons] *= np.sqrt(most / size) if patterns else most / size


def _flat(memory: Memory, dW: Any) -> np.ndarray:
    """Return a gradient of W as `parameters` lists its numbers."""
    if isinstance(memory.weights, Blocks):
        flat = np.zeros(memory.weights.stored.shape[1])
        for key, part in memory.weights.given.items():
            flat[part] = dW[key].reshape(-1)
        return flat
    return np.asarray((dW + dW.T) / 2 if isinstance(memory.weights, Dense) and memory.symmetric else dW).reshape(-1)


# --- one step --------------------------------------------------------------------------------------------------------


def _step(memory: Memory, held: slice) -> np.ndarray:
    """Return the default step of the neurons that are not held: those that are do not move."""
    free = np.ones(memory.neurons, bool)
    free[held] = False
    layers = [(part.stop - part.start, kind) for part, kind in memory.spans if part != held]
    tau = None if memory.tau is None else memory.tau[free]
    return default_step(Memory(memory.W[np.ix_(free, free)], layers=layers, tau=tau, variable=memory.variable))


@dataclasses.dataclass(frozen=True, eq=False)
class _Batch:
    """The gradient of a batch, its summed loss, the samples that count, steps of the forward runs, and its states."""

    slope: np.ndarray
    loss: float
    counted: int
    steps: int
    linear: Linearised


def _descend(memory: Memory, inputs: np.ndarray, targets: np.ndarray, out: slice, how: _How) -> _Batch:
    ends = respond(memory, inputs, held=how.held, tolerance=how.tolerance, t_max=how.t_max)
    values, slopes = LOSSES[how.loss].of(ends.state[:, out].astype(np.float64), targets)
    e = np.zeros(ends.state.shape)
    e[:, out] = np.where(ends.settled[:, None], slopes, 0) / len(inputs)
    linear = Linearised(clamp(memory, [how.held]), ends.state)
    found, _ = solve(linear, e, how.solver, how.tolerance)
    counts = ends.settled & (found.status == SOLVED)
    parts = derivatives(linear, found.state, found.between, counts, False)
    slope = np.concatenate([_flat(memory, parts["dW"]), parts["db"]])
    return _Batch(slope, float(values[counts].sum()), int(counts.sum()), int(ends.steps.sum()), linear)


# --- checkpoints and progress ----------------------------------------------------------------------------------------


def _name(memory: Memory, theta: np.ndarray, inputs: np.ndarray, targets: np.ndarray, out: slice, how: _How) -> str:
    """Return a digest of everything that decides a fit."""
    parts = [repr((memory.layers, memory.variable, memory.dtype.name, memory.weights, out, how)).encode()]
    parts += [array.tobytes() for array in (theta, inputs, targets, memory.weights.blocks)]
    parts.append(b"" if memory.tau is None else memory.tau.tobytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _write(path: Path, name: str, state: _State) -> None:
    content = io.BytesIO()
    np.savez(content, name=name, theta=state.theta, moments=state.moments, history=np.array(state.history))
    replace_file(path, content.getvalue())


def _resumed(path: Path, name: str, fresh: _State) -> _State:
    """Return where the fit of that name was left, `fresh` where there is no file."""
    try:
        found = arrays_of(read_file(path), ("name", "theta", "moments", "history"))
        theta, moments, history = (np.array(found[key], np.float64) for key in ("theta", "moments", "history"))
    except FileNotFoundError:
        return fresh
    except OSError as error:
        raise ValueError(f"checkpoint {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ValueError(f"checkpoint {path} is no file of a fit.") from None
    if str(found["name"]) != name:
        raise ValueError(f"checkpoint {path} is of another fit; give another path, or remove it.")
    if (theta.shape, moments.shape, history.shape[1:]) != (fresh.theta.shape, fresh.moments.shape, _ROW):
        raise ValueError(f"checkpoint {path} is no file of a fit.")
    return _State(theta, moments, [tuple(row) for row in history])


@contextmanager
def _bar(epochs: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Give a function to call after every epoch."""
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda: bar.advance(task)
