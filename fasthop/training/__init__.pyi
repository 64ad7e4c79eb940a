from fasthop.training.learning import Fit as Fit
from fasthop.training.learning import fit as fit
from fasthop.training.learning import respond as respond
from fasthop.training.optimisers import Adam as Adam
from fasthop.training.optimisers import SGD as SGD
