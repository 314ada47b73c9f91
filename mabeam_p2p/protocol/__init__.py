"""The cores that speak between peers: pure, and independent of each other."""
