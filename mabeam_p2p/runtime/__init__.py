"""The one shell: it feeds inputs to the node and runs its effects in order."""
