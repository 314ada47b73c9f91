"""Virtual time, simulated networks and disks, and the checkers that watch them."""
