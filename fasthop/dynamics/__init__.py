"""What a memory does: right-hand side, Jacobians, trajectories from starts to their ends, and the discrete rules."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.dynamics.ensemble": ["Ends", "Trajectories"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
