from fasthop.energies.lyapunov import numerical_abscissa as numerical_abscissa
from fasthop.energies.lyapunov import orientation_bound as orientation_bound
