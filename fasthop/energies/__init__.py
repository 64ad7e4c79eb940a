"""The energies of the paper, and whether they fall along trajectories."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.energies.lyapunov": ["numerical_abscissa", "orientation_bound"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
