"""Which memories each public function takes: one table, and one sentence for every other memory."""

from __future__ import annotations

from typing import NamedTuple

from fasthop.model.memory import Memory
from fasthop.model.systems import CODES


class Scope(NamedTuple):
    """What a function takes.

    Attributes
    ----------
    many : bool
        K memories at once.
    variables : str
        Variables of the state.
    held : bool
        Memories with layers that are held (`clamp`).
    drives : tuple of str
        Names of R; all of them where it is empty.
    """

    many: bool = False
    variables: str = "yu"
    held: bool = True
    drives: tuple[str, ...] = ()


_PLAIN, _NAMED = ("identity",), (*CODES, "matrix")

#: Every public function that is given a memory. What moves all neurons, or asks for all states, cannot hold a layer.
SCOPES = {
    "Certificate": Scope(variables="y", held=False, drives=_PLAIN),
    "alive_and_dead": Scope(variables="y", held=False, drives=_PLAIN),
    "basin_slice": Scope(),
    "basins": Scope(variables="yuv"),
    "boundary_saddles": Scope(held=False),
    "census": Scope(),
    "clamp": Scope(many=True, drives=_PLAIN),
    "contraction": Scope(held=False),
    "contraction_bound": Scope(many=True, variables="yuv"),
    "count_steady_states": Scope(many=True, variables="y", held=False, drives=_PLAIN),
    "dead_neurons": Scope(many=True, variables="yuv"),
    "default_step": Scope(many=True, variables="yuv"),
    "faithful_step": Scope(many=True, variables="yuv"),
    "energy": Scope(many=True, variables="yuv"),
    "energy_gradient": Scope(variables="yuv"),
    "energy_hessian": Scope(variables="uv"),
    "fit": Scope(held=False, drives=_PLAIN),
    "gradient": Scope(many=True),
    "jax_settle": Scope(held=False, drives=_NAMED),
    "lyapunov_condition": Scope(variables="yuv"),
    "polish": Scope(variables="yuv"),
    "radii": Scope(held=False),
    "recover": Scope(many=True, variables="y"),
    "residual": Scope(many=True, variables="yuv"),
    "respond": Scope(drives=_PLAIN),
    "settle": Scope(many=True, variables="yuv"),
    "simulate": Scope(many=True, variables="yuv"),
    "stability": Scope(),
    "steady_states": Scope(held=False),
    "torch_settle": Scope(held=False, drives=_NAMED),
    "why_not_lyapunov": Scope(many=True, variables="yuv"),
}


def refuse(memory: Memory, function: str) -> None:
    """Raise ValueError unless a memory is one that the function of this name takes."""
    scope = SCOPES[function]
    if memory.count is not None and not scope.many:
        raise ValueError(f"memory must be one memory; got {memory.count} memories.")
    if memory.variable not in scope.variables:
        allowed, why = " or ".join(map(repr, scope.variables)), ""
        if memory.variable == "v":
            why = ", whose steady states are those of W Wᵀ"
        raise ValueError(f"memory must have variable = {allowed}; got {memory.variable!r}{why}.")
    if scope.drives and memory.drive.name not in scope.drives:
        raise ValueError(f"memory must have R = {' or '.join(map(repr, scope.drives))}; got {memory.drive.name!r}.")
    if memory.weights.held.any() and not scope.held:
        raise ValueError(f"memory must have no layer held; got {memory.weights.held.sum()} neurons that are.")
