"""Learning by the gradient through the equilibrium."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.training.learning": ["Fit", "fit", "respond"],
    "fasthop.training.optimisers": ["Adam", "SGD"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
