"""What a state is: dead neurons, stability, steady states, and the census of ends."""
