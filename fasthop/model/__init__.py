"""What a memory is: weights, layers, activations, the system it follows and its R, bounds on its step."""
