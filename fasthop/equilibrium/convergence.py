"""The theorem of Almeida and Pineda measured: the backward iteration contracts when the forward one does, as fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import settle
from fasthop.equilibrium.adjoints import SOLVED, iteration
from fasthop.equilibrium.equations import states_of
from fasthop.equilibrium.linearised import Linearised
from fasthop.model.memory import Memory
from fasthop.model.norms import generic_direction
from fasthop.model.scope import refuse
from fasthop.runtime import one_blas_thread

#: Both iterations are run until what is left has fallen by this factor; the rate is that of its second half.
FALL = 1e-10
#: How far the forward iteration starts from the state: near enough to be linear, far enough from rounding.
APART = 1e-2


def contraction(memory: Memory, states: Any) -> pd.DataFrame:
    """Measure how fast the forward iteration x ← f(x) and the backward one a ← Jᵀa + e converge at steady states.

    Parameters
    ----------
    memory : Memory
        One memory, nothing held. τ and R have no part in the iterations.
    states : array_like, shape (B, N)
        Steady states.

    Returns
    -------
    pandas.DataFrame
        A row per state: `rho` and `rho_transposed`, ρ(J) and ρ(Jᵀ), each computed on its own by LAPACK; `lambda_max`;
        `forward_iterations`, `backward_iterations` to a fall by 1e-10 and `predicted`, ln 1e-10 / ln ρ;
        `forward_rate` and `backward_rate`, the factor per iteration over the last five decades. NaN where an iteration
        does not converge.

    Raises
    ------
    TypeError, ValueError
        Where states do not fit, or there are K memories.
    """
    refuse(memory, "contraction")
    found, _ = states_of(memory, "states", states)
    plain = Memory(memory.weights, memory.b, layers=memory.layers, variable=memory.variable, dtype=memory.dtype)
    at = Linearised(plain, found)
    J = at.jacobians()
    with one_blas_thread():
        values, turned = np.linalg.eigvals(J), np.linalg.eigvals(np.swapaxes(J, 1, 2))
    rho = np.abs(values).max(axis=1)
    direction = generic_direction(memory.neurons)
    starts = found + APART * direction / np.abs(direction).max()
    table = {
        "rho": rho,
        "rho_transposed": np.abs(turned).max(axis=1),
        "lambda_max": values.real.max(axis=1),
    }
    half = np.sqrt(FALL)
    runs = {
        "forward": [_forward(plain, starts, APART * fall) for fall in (half, FALL)],
        "backward": [_backward(at, np.broadcast_to(direction, found.shape), fall) for fall in (half, FALL)],
    }
    for name, (early, late) in runs.items():
        table[f"{name}_iterations"] = late
        with np.errstate(divide="ignore", invalid="ignore"):
            table[f"{name}_rate"] = half ** (1 / (late - early))
    with np.errstate(divide="ignore"):
        table["predicted"] = np.where(rho < 1, np.log(FALL) / np.log(np.minimum(rho, 1)), np.nan)
    return pd.DataFrame(table)


def plot_contraction(table: pd.DataFrame, path: str | Path) -> None:
    """Draw the iterations of `contraction` over ρ(J) with what ρ predicts, as PNG."""
    from fasthop.plots.contraction import iterations

    iterations(table, Path(path))


def _forward(memory: Memory, starts: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the steps of x ← f(x), which is Euler's method with h = 1."""
    ends = settle(memory, starts, method="euler", dt=1.0, tolerance=tolerance, t_max=1e6)
    return np.where(ends.settled, ends.steps, np.nan)


def _backward(at: Linearised, right: np.ndarray, tolerance: float) -> np.ndarray:
    found = iteration(at, right, tolerance)
    return np.where(found.status == SOLVED, found.products - 1, np.nan)
