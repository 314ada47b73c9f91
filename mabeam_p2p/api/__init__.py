"""The public face: peers, agents and their primitives."""
