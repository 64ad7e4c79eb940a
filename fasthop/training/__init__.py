"""Learning by the gradient through the equilibrium."""
