"""Where other peers may be found: hints, never truth."""
