"""Fields that several experiments have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fasthop.dynamics.ensemble import METHODS
from fasthop.experiments.experiment import Columns, Field, Task
from fasthop.model.activations import as_activation, spelled_out

METHOD = Field("run", "method", "method", str, "rk4", False, choices=tuple(METHODS), doc="stepper")


def activation(default: Mapping[str, Any], parameter: str, doc: str) -> Field:
    """Return the field of g, which the table has as its name and, in the column `parameter`, its parameter."""

    def values(task: Task) -> tuple[str, float]:
        g = as_activation(task["activation"])
        return g.name, g.parameter

    shown = Columns({"activation": str, parameter: float}, values)
    kind, complete = dict, spelled_out
    return Field("memory", "activation", "activation", kind, default, True, doc=doc, complete=complete, shown=shown)


def criterion(what: str) -> Field:
    """Return the field of the overlap from which on a state counts as a pattern."""
    return Field("run", "criterion", "criterion", float, 0.9, False, least=0, most=1, doc=f"least overlap {what}")


def tolerance(default: float, least: float = 1e-14, most: float = 1e-2) -> Field:
    """Return the field of the residual at which a trajectory has settled."""
    doc = "residual when settled"
    return Field("run", "tolerance", "tolerance", float, default, False, least=least, most=most, doc=doc)


def t_max(default: float, what: str = "start") -> Field:
    """Return the field of the time that a trajectory has to settle."""
    doc = f"time after which a {what} is unsettled"
    return Field("run", "t_max", "t_max", float, default, False, least=1e-6, doc=doc)
