"""What is made of the tables of sweeps: capacity at one half, critical noise, capacity against gain."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.analysis.capacity_limit": ["finite_size", "half_capacity"],
    "fasthop.analysis.cue_noise": ["attraction_radius", "critical_noise", "critical_overlap", "hamming_radius"],
    "fasthop.analysis.gains": ["capacity_by_gain", "plot_capacity_by_gain"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
