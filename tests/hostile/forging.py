"""Announcements of whoever is not of the cluster, who has heard all that its members announce, and
knows its gate, as every code does. The same ones for the same seed."""

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from mabeam_p2p.addresses import join_address
from mabeam_p2p.security.announcements import FIELD_BYTES_MAX
from mabeam_p2p.security.secrets import SECRET_BYTES, Secret, mac
from tests.hostile.multicast import announcement, label

Facts = dict[str, str]
Address = tuple[str, int]

FIELDS = ("v", "id", "pub", "epoch", "mac")
TEXT_BYTES_MAX = 4_000
OTHER_HOSTS = tuple(f"127.0.0.{number}" for number in range(2, 10))


class Record(NamedTuple):
    """kind: how it was made. text: the TXT record."""

    kind: str
    instance: bytes
    text: bytes
    address: Address

    @property
    def packet(self) -> bytes:
        return announcement(self.instance, self.text, self.address)


def text_of(facts: Facts) -> bytes:
    return b"".join(label(f"{key}={value}".encode("latin-1")) for key, value in facts.items())


class Forger:
    def __init__(
        self, overheard: Facts, address: Address, cluster: str, gate: Secret, seed: int
    ) -> None:
        """overheard: what a member has announced of that address."""
        self._overheard = overheard
        self._address = address
        self._cluster = cluster
        self._gate = gate
        self._random = Random(seed)

    def records(self, addresses: Iterator[Address], count: int) -> Iterator[Record]:
        """addresses: its own, to which it would lead others. Of its kinds one after the other."""
        for kind, own in itertools.islice(zip(itertools.cycle(KINDS), addresses), count):
            text, address = KINDS[kind](self, own)
            yield Record(kind, b"%016x" % self._random.getrandbits(64), text, address)

    # ---- the kinds -----------------------------------------------------------------------------

    def nonsense(self, own: Address) -> tuple[bytes, Address]:
        return self._random.randbytes(self._random.choice((0, 1, 40, TEXT_BYTES_MAX))), own

    def no_proof(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._facts()), own

    def random_proof(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._facts() | {"mac": self._hex(32)}), own

    def odd_proof(self, own: Address) -> tuple[bytes, Address]:
        odd = ("", " ", "0", "no", "\xff", self._hex(1), self._hex(31), self._hex(33), "00" * 32)
        return text_of(self._facts() | {"mac": self._random.choice(odd)}), own

    def copied(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._overheard), own

    def copied_to_another_port(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._overheard), (self._address[0], own[1])

    def copied_to_another_host(self, own: Address) -> tuple[bytes, Address]:
        host = self._random.choice(OTHER_HOSTS)
        return text_of(self._overheard), (host, self._address[1])

    def changed(self, own: Address) -> tuple[bytes, Address]:
        """One field, at the very address of the member or its own."""
        field = self._random.choice(FIELDS)
        return text_of(self._overheard | {field: self._facts()[field]}), self._either(own)

    def lacking(self, own: Address) -> tuple[bytes, Address]:
        field = self._random.choice(FIELDS)
        facts = {key: value for key, value in self._overheard.items() if key != field}
        return text_of(facts), self._either(own)

    def shifted(self, own: Address) -> tuple[bytes, Address]:
        """The same letters, and the border between two fields elsewhere."""
        one, other = self._random.choice((("v", "id"), ("id", "pub")))
        said = self._overheard[one] + self._overheard[other]
        cut = self._random.choice([n for n in range(9) if n != len(self._overheard[one])])
        return text_of(self._overheard | {one: said[:cut], other: said[cut:]}), self._either(own)

    def of_another_secret(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._signed(Secret(self._random.randbytes(SECRET_BYTES)), own)), own

    def of_the_gate(self, own: Address) -> tuple[bytes, Address]:
        return text_of(self._signed(self._gate, own)), own

    def too_long(self, own: Address) -> tuple[bytes, Address]:
        """A field, or all of it; at the member's address the proof is as it was, and more."""
        field = self._random.choice(FIELDS)
        more = self._overheard[field] + " " * (FIELD_BYTES_MAX - 1)
        text = text_of(self._overheard | {field: more[: FIELD_BYTES_MAX + 1]})
        return text, self._either(own)

    def much_besides(self, own: Address) -> tuple[bytes, Address]:
        return text_of({str(n): "x" * 200 for n in range(18)} | self._overheard), own

    # ---- parts ---------------------------------------------------------------------------------

    def _either(self, own: Address) -> Address:
        return self._random.choice((own, self._address))

    def _hex(self, byte_count: int) -> str:
        return self._random.randbytes(byte_count).hex()

    def _facts(self) -> Facts:
        """Such as a member could say, none of which was overheard."""
        return {
            "v": str(self._random.randrange(2, 99)),
            "id": self._hex(8),
            "pub": self._hex(32),
            "epoch": str(self._random.getrandbits(40)),
            "mac": self._hex(32),
        }

    def _signed(self, secret: Secret, address: Address) -> Facts:
        facts = self._facts()
        said = (facts["v"], facts["id"], facts["pub"], join_address(*address), facts["epoch"])
        parts = (self._cluster, *said)
        proof = mac(secret, "announcement", *(part.encode() for part in parts))
        return facts | {"mac": proof.hex()}


KINDS: dict[str, Callable[[Forger, Address], tuple[bytes, Address]]] = {
    kind.__name__: kind
    for kind in (
        Forger.nonsense,
        Forger.no_proof,
        Forger.random_proof,
        Forger.odd_proof,
        Forger.copied,
        Forger.copied_to_another_port,
        Forger.copied_to_another_host,
        Forger.changed,
        Forger.lacking,
        Forger.shifted,
        Forger.of_another_secret,
        Forger.of_the_gate,
        Forger.too_long,
        Forger.much_besides,
    )
}
