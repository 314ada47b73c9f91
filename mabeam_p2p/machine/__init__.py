"""What the committed log means: one deterministic state machine."""
