"""The geometry of basins: how far they reach, what slices through them look like, how tangled their boundaries are."""
