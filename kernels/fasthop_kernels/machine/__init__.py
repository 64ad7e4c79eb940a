"""The machine: compiling, registers and lanes, bits."""
