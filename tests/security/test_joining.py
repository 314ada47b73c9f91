"""Introductions as a game of messages: who learns what from whom, and what an attacker gets."""

from importlib.util import find_spec, module_from_spec
from itertools import count

import pytest
from msgspec.structs import replace

from mabeam_p2p import config
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    JoinAsk,
    JoinChallenge,
    JoinMessage,
    JoinProof,
    JoinRefusal,
    JoinWelcome,
)
from mabeam_p2p.security.joining import VISIT_SECONDS_MAX, VISITORS_MAX, Reception, Visit
from mabeam_p2p.security.secrets import Secret, label

SERVER, CLIENT = PeerId("1" * 16), PeerId("2" * 16)
SERVER_KEY, CLIENT_KEY, OTHER_KEY = b"S" * 32, b"C" * 32, b"M" * 32
SECRET, OLD, WRONG = Secret(b"s" * 32), Secret(b"o" * 32), Secret(b"w" * 32)
PORT = 4711
LINE = b"line"


class Book:
    peer = SERVER
    public_key = SERVER_KEY

    def __init__(self) -> None:
        self.members: list[tuple[PeerId, bytes]] = []
        self.reason = ""
        self.is_rehearsal = False

    def secret_of(self, name: bytes) -> Secret | None:
        return {label(SECRET): SECRET, label(OLD): OLD}.get(name)

    def let_in(self, peer: PeerId, key: bytes, name: bytes, *, is_rehearsal: bool) -> str:
        self.is_rehearsal = is_rehearsal
        if not self.reason:
            self.members.append((peer, key))
        return self.reason

    def present(self) -> Secret:
        return SECRET


class Meeting:
    def __init__(self, secret: Secret = SECRET) -> None:
        numbers = count(1)
        self.book = Book()
        self.server = Reception(self.book, lambda: next(numbers).to_bytes(16, "big"))
        self.client = Visit(CLIENT, CLIENT_KEY, secret, b"n" * 16)

    def tell(
        self, message: JoinMessage, key: bytes = CLIENT_KEY, line: bytes = LINE, now: float = 0.0
    ) -> JoinMessage:
        return self.server.receive(line, key, message, PORT, now)

    def challenge(self) -> JoinChallenge:
        challenge = self.tell(self.client.ask)
        assert isinstance(challenge, JoinChallenge)
        return challenge

    def proof(self) -> JoinProof:
        proof = self.client.receive(self.challenge())
        assert proof is not None
        return proof


def test_both_learn_each_others_keys() -> None:
    meeting = Meeting()
    assert meeting.client.receive(meeting.tell(meeting.proof())) is None
    assert meeting.client.met is not None
    assert meeting.client.met == (SERVER, SERVER_KEY, PORT, None)
    assert meeting.book.members == [(CLIENT, CLIENT_KEY)]


def test_who_proves_an_older_secret_is_handed_the_present_one_and_not_in_clear() -> None:
    meeting = Meeting(OLD)
    welcome = meeting.tell(meeting.proof())
    assert isinstance(welcome, JoinWelcome)
    assert SECRET.reveal() not in welcome.masked
    meeting.client.receive(welcome)
    assert meeting.client.met is not None
    assert meeting.client.met.handed == SECRET


def test_a_secret_that_was_garbled_on_the_way_is_not_taken() -> None:
    meeting = Meeting(OLD)
    welcome = meeting.tell(meeting.proof())
    assert isinstance(welcome, JoinWelcome)
    meeting.client.receive(replace(welcome, masked=bytes(32)))
    assert (meeting.client.met, meeting.client.refusal) == (None, "proof")


def test_the_server_says_nothing_of_a_secret_that_it_does_not_know() -> None:
    meeting = Meeting(WRONG)
    assert meeting.tell(meeting.client.ask) == JoinRefusal("unknown_secret")
    assert meeting.book.members == []


def test_the_right_label_is_no_proof() -> None:
    meeting = Meeting(WRONG)
    challenge = meeting.tell(replace(meeting.client.ask, label=label(SECRET)))
    assert meeting.client.receive(challenge) is None
    assert meeting.client.refusal == "proof", "and the client believes no other server, either"
    assert meeting.tell(JoinProof(b"p" * 32)) == JoinRefusal("proof")
    assert meeting.book.members == []


def test_a_proof_counts_once() -> None:
    meeting = Meeting()
    proof = meeting.proof()
    assert isinstance(meeting.tell(proof), JoinWelcome)
    assert meeting.tell(proof) == JoinRefusal("order")
    assert len(meeting.book.members) == 1


def test_a_proof_counts_under_the_key_that_it_was_made_for_alone() -> None:
    """Somebody between the two has a connection with each, under a key of its own."""
    meeting = Meeting()
    challenge = meeting.tell(meeting.client.ask, OTHER_KEY)
    assert isinstance(challenge, JoinChallenge)
    assert meeting.client.receive(challenge) is None, "the server's proof is over another key"
    assert meeting.client.refusal == "proof"


def test_a_proof_counts_over_its_own_connection_alone() -> None:
    meeting = Meeting()
    proof = meeting.proof()
    assert meeting.tell(proof, line=b"other") == JoinRefusal("order")
    assert meeting.tell(proof, OTHER_KEY) == JoinRefusal("order")
    assert meeting.book.members == []


def test_a_recorded_meeting_is_of_no_use_later() -> None:
    meeting = Meeting()
    proof = meeting.proof()
    meeting.tell(proof)
    meeting.tell(meeting.client.ask)
    assert meeting.tell(proof) == JoinRefusal("proof"), "the server has drawn another nonce"


def test_a_servers_own_proof_is_not_taken_back_as_a_clients() -> None:
    meeting = Meeting()
    challenge = meeting.challenge()
    assert meeting.tell(JoinProof(challenge.proof)) == JoinRefusal("proof")


@pytest.mark.parametrize(
    "change",
    [{"key": OTHER_KEY}, {"port": 1}, {"peer": PeerId("3" * 16)}, {"nonce": b"x" * 16}],
)
def test_what_was_changed_of_a_challenge_is_not_believed(change: dict[str, object]) -> None:
    meeting = Meeting()
    assert meeting.client.receive(replace(meeting.challenge(), **change)) is None
    assert (meeting.client.met, meeting.client.refusal) == (None, "proof")


@pytest.mark.parametrize("first", [JoinProof(b"p" * 32), JoinWelcome(), JoinRefusal("x")])
def test_a_server_refuses_what_is_not_in_order(first: JoinMessage) -> None:
    meeting = Meeting()
    assert meeting.tell(first) == JoinRefusal("order")
    assert meeting.server.refused_count == 1


@pytest.mark.parametrize("first", [JoinWelcome(), JoinProof(b"p" * 32)])
def test_a_client_believes_no_welcome_before_the_server_has_proved_itself(
    first: JoinMessage,
) -> None:
    client = Meeting().client
    assert client.receive(first) is None
    assert (client.met, client.refusal) == (None, "order")
    assert client.receive(JoinWelcome()) is None
    assert client.met is None


def test_a_client_that_takes_too_long_has_to_begin_again() -> None:
    meeting = Meeting()
    proof = meeting.proof()
    assert meeting.tell(proof, now=VISIT_SECONDS_MAX) == JoinRefusal("order")


def test_a_rehearsal_says_so_by_its_proof() -> None:
    for is_rehearsal in (False, True):
        meeting = Meeting()
        meeting.client = Visit(CLIENT, CLIENT_KEY, SECRET, b"n" * 16, is_rehearsal=is_rehearsal)
        assert meeting.tell(meeting.proof()) == JoinWelcome()
        assert meeting.book.is_rehearsal == is_rehearsal


def test_who_is_objected_to_is_told_why_and_not_let_in() -> None:
    meeting = Meeting()
    meeting.book.reason = "revoked"
    assert meeting.tell(meeting.proof()) == JoinRefusal("revoked")


def test_another_release_is_told_so() -> None:
    meeting = Meeting()
    ask: JoinAsk = replace(meeting.client.ask, version=99)
    assert meeting.tell(ask) == JoinRefusal("version")


def test_a_release_of_later_frames_is_introduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which frames two have in common they say afterwards (docs/protocol.md, Versions)."""
    monkeypatch.setattr(config, "PROTOCOL_VERSION", config.PROTOCOL_VERSION + 1)
    spec = find_spec("mabeam_p2p.security.joining")
    assert spec is not None
    assert spec.loader is not None
    later = module_from_spec(spec)
    spec.loader.exec_module(later)
    meeting = Meeting()
    meeting.client = later.Visit(CLIENT, CLIENT_KEY, SECRET, b"n" * 16)
    assert meeting.tell(meeting.proof()) == JoinWelcome()


def test_many_that_only_ask_are_bounded_and_the_last_one_is_served() -> None:
    meeting = Meeting()
    for number in range(2 * VISITORS_MAX):
        meeting.tell(meeting.client.ask, line=b"%d" % number)
    assert len(meeting.server._visitors) == VISITORS_MAX
    assert isinstance(meeting.tell(meeting.proof()), JoinWelcome)
