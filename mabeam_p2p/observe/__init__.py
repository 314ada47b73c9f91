"""How a running peer is looked at from outside: its log, its metrics, a dump of its state."""
