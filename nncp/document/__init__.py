"""What the user writes: text to nodes, nodes to a State, and every error of a bad document at once."""
