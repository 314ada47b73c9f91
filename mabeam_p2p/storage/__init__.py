"""Data folders: what a peer must not forget, durable before anybody is told."""
