"""Whose keys are let in, by the log."""

import pytest

from mabeam_p2p.commands import Admit, AnyKeyCommand, RevokePeer, RotateSecret, SetKeys
from mabeam_p2p.config import Limits
from mabeam_p2p.events import KeysChanged
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, SessionId
from mabeam_p2p.machine import admissions
from mabeam_p2p.machine.admissions import Admissions
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.machine.machine import KeyedState, Machine, MachineState
from mabeam_p2p.records import Agent, Credential, Credentials
from mabeam_p2p.requests import Committed, Outcome
from tests.machine.written_log import WrittenLog, peer_id, reason

ONE, TWO, THREE = peer_id(1), peer_id(2), peer_id(3)
K1, K2, K3, K4 = (bytes([number]) * 32 for number in range(1, 5))


class Book:
    """Admissions alone, one command after the other."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.machine = Admissions(self.events)  # type: ignore[arg-type]  # Whatever it tells.
        self._index = 0

    def entry(self) -> Entry:
        self._index += 1
        return Entry(self._index, 1, self._index)

    def admit(self, peer: PeerId, key: bytes) -> Outcome:
        return self.machine.admit(self.entry(), peer, key)

    def say(self, peer: PeerId, command: AnyKeyCommand) -> Outcome:
        agent = Agent(AgentId("a@p"), peer, 1, SessionId(7), (), True, True, (), 1)
        return self.machine.apply(self.entry(), agent, command)

    def revoke(self, peer: PeerId) -> Outcome:
        return self.say(THREE, RevokePeer(CLUSTER_SESSION, 0, peer))

    def set_keys(self, peer: PeerId, *keys: bytes) -> Outcome:
        return self.say(peer, SetKeys(CLUSTER_SESSION, 0, keys, peer))

    @property
    def admitted(self) -> dict[PeerId, tuple[bytes, ...]]:
        return {one.peer: one.keys for one in self.machine.credentials.admitted}


def test_a_peer_is_admitted_once_and_keeps_its_key() -> None:
    book = Book()
    assert isinstance(book.admit(ONE, K1), Committed)
    before = book.machine.credentials
    assert isinstance(book.admit(ONE, K1), Committed)
    assert book.machine.credentials is before, "nothing has changed"
    assert reason(book.admit(ONE, K2)) == "other_key"
    assert reason(book.admit(TWO, K1)) == "other_key"
    assert book.admitted == {ONE: (K1,)}
    assert book.events == [KeysChanged(1, ONE, "admitted")]


@pytest.mark.parametrize(("peer", "key"), [(PeerId("x"), K1), (ONE, b"short"), (ONE, b"")])
def test_what_is_malformed_is_not_admitted(peer: PeerId, key: bytes) -> None:
    assert reason(Book().admit(peer, key)) == "invalid"


def test_a_revoked_peer_never_comes_back_nor_does_its_key() -> None:
    book = Book()
    book.admit(ONE, K1)
    assert isinstance(book.revoke(ONE), Committed)
    assert isinstance(book.revoke(ONE), Committed), "once more is no other thing"
    assert book.machine.is_revoked(ONE)
    assert book.admitted == {}
    assert reason(book.admit(ONE, K1)) == "revoked"
    assert reason(book.admit(ONE, K2)) == "revoked"
    assert reason(book.admit(TWO, K1)) == "revoked"
    assert len(book.machine.credentials.revoked) == 1


def test_who_was_not_admitted_yet_can_be_revoked() -> None:
    book = Book()
    book.revoke(ONE)
    assert reason(book.admit(ONE, K1)) == "revoked"


def test_a_key_is_rotated_by_way_of_both() -> None:
    book = Book()
    book.admit(ONE, K1)
    assert isinstance(book.set_keys(ONE, K1, K2), Committed)
    assert book.admitted == {ONE: (K1, K2)}
    assert isinstance(book.set_keys(ONE, K2), Committed)
    assert book.admitted == {ONE: (K2,)}
    assert isinstance(book.admit(TWO, K1), Committed), "K1 is nobody's now"


def test_keys_are_not_all_replaced_at_once() -> None:
    book = Book()
    book.admit(ONE, K1)
    assert reason(book.set_keys(ONE, K2)) == "other_key"
    assert reason(book.set_keys(ONE, K2, K3)) == "other_key"


@pytest.mark.parametrize("keys", [(), (K1, K2, K3), (K1, K1), (K1, b"short")])
def test_a_peer_has_one_key_or_two(keys: tuple[bytes, ...]) -> None:
    book = Book()
    book.admit(ONE, K1)
    assert reason(book.set_keys(ONE, *keys)) == "invalid"


def test_nobody_takes_anothers_key_or_sets_keys_before_it_is_admitted() -> None:
    book = Book()
    book.admit(ONE, K1)
    book.admit(TWO, K2)
    assert reason(book.set_keys(TWO, K2, K1)) == "other_key"
    assert reason(book.set_keys(THREE, K3)) == "not_admitted"
    book.revoke(ONE)
    assert reason(book.set_keys(TWO, K2, K1)) == "revoked"


def test_a_peer_is_given_keys_by_an_agent_on_it_alone() -> None:
    book = Book()
    book.admit(ONE, K1)
    book.admit(TWO, K2)
    command = SetKeys(CLUSTER_SESSION, 0, (K1, K3), ONE)
    assert reason(book.say(TWO, command)) == "not_owner"
    assert book.admitted == {ONE: (K1,), TWO: (K2,)}
    assert isinstance(book.say(ONE, command), Committed)
    unnamed = SetKeys(CLUSTER_SESSION, 0, (K2,))
    assert isinstance(book.say(TWO, unnamed), Committed), "in a log from before it was named"


def test_the_last_secret_that_was_named_counts() -> None:
    book = Book()
    assert reason(book.say(ONE, RotateSecret(CLUSTER_SESSION, 0, b"short"))) == "invalid"
    book.say(ONE, RotateSecret(CLUSTER_SESSION, 0, b"a" * 8))
    book.say(TWO, RotateSecret(CLUSTER_SESSION, 0, b"b" * 8))
    assert book.machine.credentials.secret == b"b" * 8


def test_the_table_is_bounded_and_the_oldest_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admissions, "ADMITTED_MAX", 3)
    monkeypatch.setattr(admissions, "REVOKED_MAX", 2)
    book = Book()
    for number in range(1, 6):
        book.admit(peer_id(number), bytes([number]) * 32)
    assert list(book.admitted) == [peer_id(number) for number in (3, 4, 5)]
    for number in range(1, 4):
        book.revoke(peer_id(number))
    assert [one.peer for one in book.machine.credentials.revoked] == [peer_id(2), peer_id(3)]


def test_admissions_stand_in_snapshots_and_are_the_clusters_word() -> None:
    log = WrittenLog()
    log.apply(Admit(CLUSTER_SESSION, 0, ONE, K1))
    machine = Machine(Limits())
    machine.load(machine.decode(log.machine.encode()))
    assert machine.admissions.credentials == Credentials((Credential(ONE, (K1,)),))
    assert machine.digest() == log.machine.digest()
    machine.load(machine.decode(Machine(Limits()).encode()))
    assert machine.admissions.credentials == Credentials(), "and those of the one before are gone"


def test_a_machine_without_keys_is_written_as_it_was_before_there_were_any() -> None:
    """Else snapshots on disk would have another hash than the one beside them."""
    log = WrittenLog()
    state = log.machine.decode(log.machine.encode())
    fields = len(MachineState.__struct_fields__)
    assert len(log.machine.snapshot()) == fields  # type: ignore[arg-type]  # A sequence.
    assert isinstance(state, KeyedState)
    assert state.credentials == Credentials()
