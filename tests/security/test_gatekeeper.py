"""The guard and the introductions together: what happens when a disk takes nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mabeam_p2p.errors import KeyFileError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.key_requests import Invite, Invited, KeyRenewed, KeysAnswer, ReadKeys, RenewKey
from mabeam_p2p.messages import JoinRefusal, JoinWelcome
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.requests import Failed
from mabeam_p2p.security import files
from mabeam_p2p.security import keyring as keyring_module
from mabeam_p2p.security.codes import decode
from mabeam_p2p.security.gate import Gate
from mabeam_p2p.security.gatekeeper import STORAGE, Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import KeyPair, Keyring, new_key_pair, open_keyring
from mabeam_p2p.security.secrets import Secret, label
from mabeam_p2p.transport.introductions import UNREACHED
from mabeam_p2p.wire.joining import JoinCodec

SERVER, CLIENT = PeerId("1" * 16), PeerId("2" * 16)
LINE = b"line"
GATE, SECRET = Secret(b"gategate"), Secret(b"s" * 32)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    tmp_path.chmod(0o700)
    folders = tmp_path / "server", tmp_path / "client"
    for folder in folders:
        folder.mkdir(mode=0o700)
    return folders


def meet(server: Gatekeeper, client: Gatekeeper, pair: KeyPair | None = None) -> tuple[str, bytes]:
    """One introduction; why there was none, and the last word of the server. pair: one to come."""
    visit = client.visits(pair)[0]
    key = (pair or client.pair).public
    word, answer = visit.first, b""
    while not visit.has_ended:
        answer = server.answer(LINE, key, word, 4711, 0.0)
        word = visit.receive(answer) or b""
    return visit.refusal, answer


def full(path: Path, content: object) -> None:
    raise KeyFileError("the disk of the test is full", path=str(path))


@pytest.mark.parametrize("whose", ["server", "client"])
def test_who_cannot_keep_an_introduction_says_so_and_it_is_tried_anew(
    whose: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the server the use of a code, on the client the join secret: neither lets an exception out
    into the loop, and neither counts before it is durable."""
    codec = JoinCodec()
    host = open_keyring(folders[0], None)
    assert host.gate is not None
    token = host.invite(seconds=10, once=True, wall=0.0)
    guest = open_keyring(folders[1], None, joins_gate=host.gate)
    server = Gatekeeper(Guard(SERVER, host, wall=lambda: 1.0), codec)
    client = Gatekeeper(Guard(CLIENT, guest, token=token), codec)
    write = files.write

    def refuse(path: Path, content: object) -> None:
        full(path, content) if path.parent.name == whose else write(path, content)

    monkeypatch.setattr(files, "write", refuse)
    for _ in range(2):
        refusal, answer = meet(server, client)
        assert refusal == STORAGE
        if whose == "server":
            assert codec.decode(answer) == JoinRefusal(STORAGE)
            assert server.speaker(client.pair.public) is None
        assert not guest.has_joined
    monkeypatch.setattr(files, "write", write)
    refusal, answer = meet(server, client)
    assert refusal == ""
    assert isinstance(codec.decode(answer), JoinWelcome)
    assert secrets(folders[1]) == secrets(folders[0])


def test_a_code_too_many_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "INVITATIONS_MAX", 1)
    pair = Pair()
    pair.start()
    assert isinstance(pair.gate.ask(Invite(60.0, True)), Invited)
    answer = pair.gate.ask(Invite(60.0, True))
    assert isinstance(answer, Failed)
    assert answer.reason == "overloaded"
    assert "have expired" in answer.detail


def test_a_code_is_good_for_as_long_as_it_says_from_when_it_was_given_out() -> None:
    """However long its peer has run, and whatever its clock was when it began."""
    now = 1_000.0
    pair = Pair(wall=lambda: now)
    pair.start()
    now += 7_200.0
    answer = pair.gate.ask(Invite(60.0, True))
    assert isinstance(answer, Invited)
    code = decode(answer.code)
    now += 59.0
    name = label(code.token)
    assert pair.client.guard.let_in(SERVER, pair.server.pair.public, name) == ""
    answer = pair.gate.ask(Invite(60.0, True))
    assert isinstance(answer, Invited)
    now += 60.0
    name = label(decode(answer.code).token)
    assert pair.client.guard.let_in(SERVER, pair.server.pair.public, name) == "expired"


@pytest.mark.parametrize(
    ("address", "where"), [("192.0.2.7:7946", "192.0.2.7:7946"), ("127.0.0.1:7946", "this host")]
)
def test_an_inviter_that_does_not_answer_is_named_once(
    address: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A code of another host's loopback, a port that a firewall closes, a peer that has ended: who
    waits hears of none of them else."""
    keyring = open_keyring(None, None, joins_gate=GATE, inviter=address)
    gate = Gate(Guard(CLIENT, keyring), Doors(), cluster="default", inviter=address)
    for _ in range(3):
        gate.on_refusal("192.0.2.9:1", UNREACHED)
        gate.on_refusal(address, UNREACHED)
    (message,) = caplog.messages
    assert where in message
    keyring.join(GATE, SECRET)
    gate.on_refusal(address, UNREACHED)
    assert len(caplog.messages) == 1


class Doors:
    address = "127.0.0.1:7946"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.refreshed = 0
        self.heard: Callable[[bytes], None] = lambda key: None

    def refresh(self) -> None:
        self.refreshed += 1

    def rekey(self) -> None:
        self.said.append("rekey")

    def rehearse(self, pair: KeyPair, heard: Callable[[bytes], None]) -> None:
        self.said.append("rehearse")
        self.heard = heard

    def retire(self) -> None:
        self.said.append("retire")


class Pair:
    """A server, and a client with a gate that counts how often it hears of its revocation."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        codec = JoinCodec()
        keyrings = [Keyring(None, None, new_key_pair()) for _ in range(2)]
        for keyring in keyrings:
            keyring.gate, keyring.current = GATE, SECRET
        self.server = Gatekeeper(Guard(SERVER, keyrings[0]), codec)
        self.client = Gatekeeper(Guard(CLIENT, keyrings[1], wall=wall), codec)
        self.revoked_count = 0
        self.doors = Doors()
        self.gate = Gate(self.client.guard, self.doors, cluster="default")

    def start(self) -> None:
        self.gate.start(lambda peer, key: None, fail, self._count)

    def _count(self) -> None:
        self.revoked_count += 1

    def revoke_client(self) -> Credentials:
        revoked = Credentials((), (Credential(CLIENT, (self.client.pair.public,)),))
        self.server.guard.update(revoked)
        return revoked


def fail(error: BaseException) -> None:
    raise error


def test_who_has_the_secret_rotated_asks_its_links_who_may_still_be_spoken_to() -> None:
    """It lacks nothing itself, and may have shut somebody out."""
    pair = Pair()
    pair.start()
    pair.gate.update(Credentials())
    before = pair.doors.refreshed
    pair.gate.update(Credentials((), (), label(pair.client.guard.keyring.propose())))
    assert not pair.client.guard.lacks_secret
    assert pair.doors.refreshed == before + 1


def test_who_was_revoked_hears_it_from_a_member_once() -> None:
    """Its log does not tell it: nobody sends it that any more."""
    pair = Pair()
    pair.start()
    assert meet(pair.server, pair.client)[0] == ""
    assert pair.revoked_count == 0
    pair.revoke_client()
    for _ in range(2):
        assert meet(pair.server, pair.client)[0] == "revoked"
    assert pair.revoked_count == 1


def test_who_was_revoked_hears_it_from_its_own_log_once() -> None:
    for starts_first in (True, False):
        pair = Pair()
        if starts_first:
            pair.start()
        pair.gate.update(pair.revoke_client())
        pair.gate.update(pair.revoke_client())
        if not starts_first:
            pair.start()
        assert pair.revoked_count == 1


def test_a_key_is_used_when_the_log_names_it_first_and_by_then_it_was_asked_about() -> None:
    pair = Pair()
    pair.start()
    keyring = pair.client.guard.keyring
    former, key = keyring.pair.public, keyring.renew_key().public
    server = Credential(SERVER, (pair.server.pair.public,))

    def says(*keys: bytes) -> KeysAnswer:
        pair.gate.update(Credentials((server, Credential(CLIENT, keys)), ()))
        answer = pair.gate.ask(ReadKeys())
        assert isinstance(answer, KeysAnswer)
        return answer

    assert says(former).key == former
    assert pair.doors.said == []
    assert says(former, key).key == former, "who has not read that knows the former one alone"
    assert says(former, key).followers == ()
    assert pair.doors.said == ["rehearse"]
    pair.doors.heard(pair.server.pair.public)
    assert says(former, key).followers == (SERVER,)
    answer = says(key, former)
    assert (answer.key, answer.former, answer.followers) == (key, former, ())
    assert pair.doors.said == ["rehearse", "rekey"]
    assert meet(pair.client, pair.server)[0] == ""
    assert says(key, former).followers == (SERVER,), "it was told the new key"
    answer = says(key)
    assert (answer.key, answer.former, answer.followers) == (key, b"", ())
    assert pair.doors.said == ["rehearse", "rekey", "retire"]


@pytest.mark.parametrize("has_met", [False, True], ids=["a stranger", "one that it has met"])
def test_who_has_not_read_of_a_key_to_come_takes_its_peer_for_nobody_else(has_met: bool) -> None:
    """A peer that starts anew may be asked under that first. If it took it for the key of who asks,
    it would refuse the present one, and be told the log by nobody if that peer leads."""
    pair = Pair()
    keyring = pair.client.guard.keyring
    to_come = keyring.renew_key()
    if has_met:
        assert meet(pair.server, pair.client)[0] == ""
    assert meet(pair.server, pair.client, to_come)[0] == "other_key"
    assert pair.server.speaker(to_come.public) is None
    assert meet(pair.server, pair.client)[0] == ""
    assert pair.server.speaker(keyring.pair.public) == CLIENT
    read = Credentials((Credential(CLIENT, (keyring.pair.public, to_come.public)),))
    pair.server.guard.update(read)
    visited: list[PeerId] = []
    pair.server.guard.on_visit = visited.append
    assert meet(pair.server, pair.client, to_come)[0] == ""
    assert pair.server.speaker(to_come.public) == CLIENT
    assert visited == [], "who only asks was not told of the server's keys"
    assert meet(pair.server, pair.client)[0] == ""
    assert visited == [CLIENT]


def test_a_rotation_that_was_over_before_its_peer_heard_of_it_ends_its_former_key() -> None:
    """Else the next one would begin with that, and let it in again."""
    pair = Pair()
    pair.start()
    keyring = pair.client.guard.keyring
    key = keyring.renew_key().public
    pair.gate.update(Credentials((Credential(CLIENT, (key,)),), ()))
    assert pair.doors.said == ["rekey", "retire"]
    assert (keyring.pair.public, keyring.former) == (key, None)
    answer = pair.gate.ask(RenewKey())
    assert isinstance(answer, KeyRenewed)
    assert answer.former == key


def test_who_was_told_a_key_that_is_no_longer_used_is_told_the_present_one() -> None:
    """Its introduction began before this peer went over: it counts as none, and is tried anew."""
    pair = Pair()
    pair.start()
    keyring = pair.client.guard.keyring
    former, key = keyring.pair.public, keyring.renew_key().public
    server = Credential(SERVER, (pair.server.pair.public,))
    visit = pair.server.visits()[0]
    challenge = pair.client.answer(LINE, pair.server.pair.public, visit.first, 4711, 0.0)
    proof = visit.receive(challenge)
    assert proof is not None
    pair.gate.update(Credentials((server, Credential(CLIENT, (key, former))), ()))
    visit.receive(pair.client.answer(LINE, pair.server.pair.public, proof, 4711, 0.0))
    assert (visit.found, visit.refusal) == (None, "order")
    answer = pair.gate.ask(ReadKeys())
    assert isinstance(answer, KeysAnswer)
    assert answer.followers == ()
    assert meet(pair.client, pair.server)[0] == ""


def test_who_has_not_proved_the_present_secret_cannot_stop_a_peer() -> None:
    """Whoever knows the gate can say anything at an address; so can who was revoked itself, and
    has missed a rotation."""
    pair = Pair()
    pair.start()
    visit = pair.client.visits()[0]
    assert visit.receive(JoinCodec().encode(JoinRefusal("revoked"))) is None
    assert (visit.refusal, pair.revoked_count) == ("revoked", 0)
    pair.revoke_client()
    keyring = pair.client.guard.keyring
    keyring.rotate(Secret(b"n" * 32))
    present, previous = pair.client.visits()
    answer = pair.server.answer(LINE, pair.client.pair.public, present.first, 4711, 0.0)
    assert (present.receive(answer), present.refusal) == (None, "unknown_secret")
    answer = pair.server.answer(LINE, pair.client.pair.public, previous.first, 4711, 0.0)
    word = previous.receive(answer)
    assert word is not None
    answer = pair.server.answer(LINE, pair.client.pair.public, word, 4711, 0.0)
    assert (previous.receive(answer), previous.refusal) == (None, "revoked")
    assert pair.revoked_count == 0


def test_a_server_that_proves_the_previous_secret_is_no_member_by_that() -> None:
    pair = Pair()
    pair.start()
    pair.client.guard.keyring.rotate(Secret(b"n" * 32))
    _, previous = pair.client.visits()
    word = previous.receive(
        pair.server.answer(LINE, pair.client.pair.public, previous.first, 4711, 0.0)
    )
    assert word is not None
    previous.receive(pair.server.answer(LINE, pair.client.pair.public, word, 4711, 0.0))
    assert (previous.found, previous.refusal) == (None, "other_key")
    assert pair.client.speaker(pair.server.pair.public) is None


def secrets(folder: Path) -> Secret | None:
    keyring: Keyring = open_keyring(folder, None)
    return keyring.current
