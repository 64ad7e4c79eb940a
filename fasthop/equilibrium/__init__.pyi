from fasthop.equilibrium.convergence import contraction as contraction
from fasthop.equilibrium.convergence import plot_contraction as plot_contraction
from fasthop.equilibrium.gradients import Gradient as Gradient
