from fasthop.dynamics.ensemble import Ends as Ends
from fasthop.dynamics.ensemble import Trajectories as Trajectories
