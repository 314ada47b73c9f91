"""What a peer remembers over a crash."""
