"""What a memory is: weights, layers, activations, the system it follows and its R, bounds on its step."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.model.matrices": ["polar"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
