"""What a memory does: right-hand side, Jacobians, trajectories from starts to their ends, and the discrete rules."""
