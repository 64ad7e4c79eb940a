"""What is stored and how: patterns, files of one's own, learning rules, wear of synapses, theory of capacity."""
