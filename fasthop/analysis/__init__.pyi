from fasthop.analysis.capacity_limit import finite_size as finite_size
from fasthop.analysis.capacity_limit import half_capacity as half_capacity
from fasthop.analysis.cue_noise import attraction_radius as attraction_radius
from fasthop.analysis.cue_noise import critical_noise as critical_noise
from fasthop.analysis.cue_noise import critical_overlap as critical_overlap
from fasthop.analysis.cue_noise import hamming_radius as hamming_radius
from fasthop.analysis.gains import capacity_by_gain as capacity_by_gain
from fasthop.analysis.gains import plot_capacity_by_gain as plot_capacity_by_gain
