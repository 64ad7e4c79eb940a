"""What a steady state passes on: the map linearised there, its adjoint, and gradients through the equilibrium."""
