"""Random weights of the Gaussian orthogonal ensemble, and the law of their extreme eigenvalues."""
