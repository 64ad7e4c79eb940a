"""Which memories each public function takes: one table, and one sentence for every other memory."""

from __future__ import annotations

from typing import NamedTuple

from fasthop.model.memory import Memory
from fasthop.model.systems import FACTORS, RESIDUALS


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
    factors : tuple of str
        Names of R.
    """

    many: bool = False
    variables: str = "yu"
    held: bool = True
    factors: tuple[str, ...] = tuple(FACTORS)


_PLAIN = tuple(name for name, kind in FACTORS.items() if kind.is_identity)
_RESPELLED = tuple(name for name in FACTORS if name != "orthogonal factor")
_EVERY = "".join(RESIDUALS)

#: Every public function that is given a memory. What moves all neurons, or asks for all states, cannot hold a layer.
SCOPES = {
    "Certificate": Scope(variables="y", held=False, factors=_PLAIN),
    "alive_and_dead": Scope(variables="y", held=False, factors=_PLAIN),
    "basin_slice": Scope(),
    "basins": Scope(variables=_EVERY),
    "boundary_saddles": Scope(held=False),
    "census": Scope(),
    "clamp": Scope(many=True, factors=_PLAIN),
    "contraction": Scope(held=False),
    "contraction_bound": Scope(many=True, variables=_EVERY),
    "count_steady_states": Scope(many=True, variables="y", held=False, factors=_PLAIN),
    "dead_neurons": Scope(many=True, variables=_EVERY),
    "default_step": Scope(many=True, variables=_EVERY),
    "faithful_step": Scope(many=True, variables=_EVERY),
    "energy": Scope(many=True, variables=_EVERY),
    "energy_gradient": Scope(variables=_EVERY),
    "energy_hessian": Scope(variables="uv"),
    "fit": Scope(held=False, factors=_PLAIN),
    "gradient": Scope(many=True),
    "jax_settle": Scope(held=False, factors=_RESPELLED),
    "lyapunov_condition": Scope(variables=_EVERY),
    "polish": Scope(variables=_EVERY),
    "radii": Scope(held=False),
    "recover": Scope(many=True, variables="y"),
    "residual": Scope(many=True, variables=_EVERY),
    "respond": Scope(factors=_PLAIN),
    "settle": Scope(many=True, variables=_EVERY),
    "simulate": Scope(many=True, variables=_EVERY),
    "stability": Scope(),
    "steady_states": Scope(held=False),
    "torch_settle": Scope(held=False, factors=_RESPELLED),
    "why_not_lyapunov": Scope(many=True, variables=_EVERY),
}


def refuse(memory: Memory, function: str) -> None:
    """Raise ValueError unless a memory is one that the function of this name takes."""
    scope = SCOPES[function]
    if memory.count is not None and not scope.many:
        raise ValueError(f"memory must be one memory; got {memory.count} memories.")
    if memory.variable not in scope.variables:
        allowed, residual = " or ".join(map(repr, scope.variables)), memory.system.residual
        why = "" if residual.is_argument or residual.is_value else ", whose steady states are those of W Wᵀ"
        raise ValueError(f"memory must have variable = {allowed}; got {memory.variable!r}{why}.")
    if (name := memory.system.factor.name) not in scope.factors:
        raise ValueError(f"memory must have R = {' or '.join(map(repr, scope.factors))}; got {name!r}.")
    if memory.weights.held.any() and not scope.held:
        raise ValueError(f"memory must have no layer held; got {memory.weights.held.sum()} neurons that are.")
