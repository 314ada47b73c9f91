"""Join codes: what a person carries from one host to the next.

`MB1-XXXX-...`: the version, then base 32 without the letters that look like digits, in groups of
four. Case, spaces and missing hyphens do not matter; I and L are read as 1, O as 0. The last two
bytes are a checksum, so that a typing error is named as such.

It holds where the inviter listens, the gate of the cluster's join port, a token that the inviter
knows, and the cluster's name unless that is `default`. The token is good for a while, or for one
peer, as the inviter decides: the code itself holds no key and not the join secret.
"""

import hashlib
import os
from ipaddress import ip_address
from typing import NamedTuple

from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.errors import AddressError, InvalidJoinCode
from mabeam_p2p.ids import is_name
from mabeam_p2p.security.secrets import Secret

PREFIX = "MB1"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LOOK_ALIKE = str.maketrans("ILO", "110")
GROUP = 4

GATE_BYTES = 8
TOKEN_BYTES = 10
"""80 bits, and the inviter answers a few guesses a second."""
CHECK_BYTES = 2
DEFAULT_CLUSTER = "default"
HOST_BYTES = {4: 4, 6: 16}


class JoinCode(NamedTuple):
    """address: of the inviter, an IP address with its port."""

    address: str
    gate: Secret
    token: Secret
    cluster: str = DEFAULT_CLUSTER


def new_token() -> Secret:
    return Secret(os.urandom(TOKEN_BYTES))


def new_gate() -> Secret:
    return Secret(os.urandom(GATE_BYTES))


def encode(code: JoinCode) -> str:
    """Raises AddressError if the address names no IP address and port."""
    host, port = split_address(code.address)
    try:
        ip = ip_address(host)
    except ValueError:
        raise AddressError(f"{code.address} is no IP address: a join code needs one") from None
    name = "" if code.cluster == DEFAULT_CLUSTER else code.cluster
    body = bytes([ip.version]) + ip.packed + port.to_bytes(2, "big")
    body += code.gate.reveal() + code.token.reveal() + name.encode()
    digits = _to_digits(body + _checksum(body))
    groups = [digits[at : at + GROUP] for at in range(0, len(digits), GROUP)]
    return "-".join([PREFIX, *groups])


def decode(text: str) -> JoinCode:
    """Raises InvalidJoinCode, which says what is wrong; it never repeats the code."""
    digits = "".join(text.split()).replace("-", "").upper().translate(LOOK_ALIKE)
    if not digits.startswith(PREFIX):
        version = digits[:3] if digits[:2] == "MB" and digits[2:3].isdigit() else ""
        if version:
            raise InvalidJoinCode(
                f"this join code is of version {version}, and this release reads {PREFIX}: "
                "install the same release on both hosts"
            )
        raise InvalidJoinCode(f"this is no join code: one begins with {PREFIX}-")
    digits = digits.removeprefix(PREFIX)
    for place, digit in enumerate(digits):
        if digit not in ALPHABET:
            raise InvalidJoinCode(
                f"the join code has a typing error: {digit!r} in group {place // GROUP + 1} is in "
                "no code"
            )
    data = _from_digits(digits)
    body, check = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    if len(data) <= CHECK_BYTES or _checksum(body) != check:
        raise InvalidJoinCode(
            "the join code has a typing error, or a part of it is missing: compare it with what "
            "`mabeam up` or `mabeam keys invite` printed"
        )
    return _read(body)


def _read(body: bytes) -> JoinCode:
    size = HOST_BYTES.get(body[0], 0)
    least = 1 + size + 2 + GATE_BYTES + TOKEN_BYTES
    try:
        if not size or len(body) < least:
            raise ValueError
        host = str(ip_address(body[1 : 1 + size]))
        port = int.from_bytes(body[1 + size : 3 + size], "big")
        gate = body[3 + size : 3 + size + GATE_BYTES]
        token = body[3 + size + GATE_BYTES : least]
        cluster = body[least:].decode("ascii") or DEFAULT_CLUSTER
        if not port or not is_name(cluster):
            raise ValueError
    except ValueError:
        raise InvalidJoinCode(
            "the join code holds what this release does not read: install the same release on "
            "both hosts"
        ) from None
    return JoinCode(join_address(host, port), Secret(gate), Secret(token), cluster)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECK_BYTES, person=b"join code").digest()


def _to_digits(data: bytes) -> str:
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = (len(data) * 8 + 4) // 5
    return "".join(ALPHABET[bits >> 5 * (count - 1 - place) & 31] for place in range(count))


def _from_digits(digits: str) -> bytes:
    bits = 0
    for digit in digits:
        bits = bits << 5 | ALPHABET.index(digit)
    size = len(digits) * 5 // 8
    # Bits beyond the last byte are zero in what `_to_digits` wrote; others are a typing error.
    spare = len(digits) * 5 - size * 8
    if spare >= 5 or bits & ((1 << spare) - 1):
        return b""
    return (bits >> spare).to_bytes(size, "big")
