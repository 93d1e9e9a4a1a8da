"""The CNI specification's two sides: our bridge plugin, and running plugins as a container runtime does."""
