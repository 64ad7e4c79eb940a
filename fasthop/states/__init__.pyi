from fasthop.states.certificate import Certificate as Certificate
from fasthop.states.dead import DeadNeurons as DeadNeurons
from fasthop.states.dead import Recovered as Recovered
from fasthop.states.dead import recover as recover
from fasthop.states.enumeration import count_steady_states as count_steady_states
from fasthop.states.newton import Polished as Polished
from fasthop.states.newton import polish as polish
from fasthop.states.stability import Stability as Stability
