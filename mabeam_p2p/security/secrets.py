"""Secrets as values that do not show themselves, and what is derived from them.

One function makes codes of authentication and derived keys, HMAC-SHA-256 (RFC 2104) with a purpose
in front, each part behind its length: no two inputs are the same bytes, and what was made for one
purpose is good for no other.
"""

import hashlib
import hmac

SECRET_BYTES = 32
KEY_BYTES = 32
"""Of a CURVE key."""
LABEL_BYTES = 8
PURPOSE = b"mabeam/1 "


class Secret:
    """Bytes that no log, traceback or status shows. `reveal` is the one way to them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(redacted)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(label(self))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def mac(secret: Secret, purpose: str, *parts: bytes) -> bytes:
    """32 bytes that only who has the secret can make, or check."""
    code = hmac.new(secret.reveal(), PURPOSE + purpose.encode() + b"\0", hashlib.sha256)
    for part in parts:
        code.update(len(part).to_bytes(4, "big"))
        code.update(part)
    return code.digest()


def is_mac(given: bytes, secret: Secret, purpose: str, *parts: bytes) -> bool:
    """Whether `given` is that code; takes as long for a wrong one as for the right one."""
    return hmac.compare_digest(given, mac(secret, purpose, *parts))


def label(secret: Secret) -> bytes:
    """What names a secret to others and gives nothing of it away."""
    return mac(secret, "label")[:LABEL_BYTES]


def masked(secret: Secret, key: Secret, *parts: bytes) -> bytes:
    """`secret` under a pad that only who has `key` can make; `parts` are never used again. It is
    its own inverse."""
    pad = mac(key, "pad", *parts)
    value = secret.reveal()
    assert len(value) == len(pad), "a pad covers the whole secret"
    return bytes(one ^ other for one, other in zip(value, pad, strict=True))
