"""Keys, secrets and codes: who a peer is, and how it proves that it belongs (docs/security.md)."""
