"""What a state is: dead neurons, stability, steady states, and the census of ends."""

from fasthop.lazy import lazy

_HOMES = {
    "fasthop.states.certificate": ["Certificate"],
    "fasthop.states.dead": ["DeadNeurons", "Recovered", "recover"],
    "fasthop.states.enumeration": ["count_steady_states"],
    "fasthop.states.newton": ["Polished", "polish"],
    "fasthop.states.stability": ["Stability"],
}
__getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
