"""Bytes and what they mean: strict CBOR, the schema of frames, the local socket's messages."""
