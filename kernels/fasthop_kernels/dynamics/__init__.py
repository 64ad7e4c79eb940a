"""A memory on a tile of lanes: activations, products, right-hand sides, steps, trajectories, energies."""
