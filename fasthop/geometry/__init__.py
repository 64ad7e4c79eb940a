"""The geometry of basins: how far they reach, what slices through them look like, how tangled their boundaries are."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.geometry.entropy": ["BasinEntropy", "UncertaintyExponent", "basin_entropy", "uncertainty_exponent"],
    "fasthop.geometry.rays": ["radii"],
    "fasthop.geometry.saddles": ["BoundarySaddles", "boundary_saddles"],
    "fasthop.geometry.slices": ["Slice", "basin_slice"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
