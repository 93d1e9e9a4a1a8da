"""VM networking: launcher Pods on node bridges, checked before a guest lands there."""
