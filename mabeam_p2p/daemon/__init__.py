"""A peer as a process of its own, for the agents of this host."""
