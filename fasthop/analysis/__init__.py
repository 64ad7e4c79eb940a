"""What is made of the tables of sweeps: capacity at one half, critical noise, capacity against gain."""
