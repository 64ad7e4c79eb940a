"""The energies of the paper, and whether they fall along trajectories."""
