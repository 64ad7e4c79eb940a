"""What is known without simulating: mean-field capacity of Hebb networks, and the Tracy–Widom laws."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.theory.mean_field": ["Retrieval", "Wear", "hebb_capacity", "hebb_retrieval", "wear"],
    "fasthop.theory.tracy_widom": ["larger_cdf", "larger_moments", "larger_pdf", "tw1_cdf", "tw1_moments", "tw1_pdf"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
