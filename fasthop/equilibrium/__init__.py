"""What a steady state passes on: the map linearised there, its adjoint, and gradients through the equilibrium."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.equilibrium.convergence": ["contraction", "plot_contraction"],
    "fasthop.equilibrium.gradients": ["Gradient"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
