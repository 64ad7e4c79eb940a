"""What is stored and how: patterns and cues, files of one's own, learning rules, wear of synapses."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.storage.patterns": [
        *("choose", "correlated_patterns", "flip_exactly", "hide", "hide_last", "spherical_patterns"),
    ],
    "fasthop.storage.wear": ["dilute", "dilute_one_way", "quantise"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
