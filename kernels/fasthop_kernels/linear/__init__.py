"""Linear equations and eigenvalues in lanes: what gradients are made of."""
