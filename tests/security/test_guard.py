import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.security.guard import PENDING_MAX, Guard
from mabeam_p2p.security.keyring import Keyring, open_keyring
from mabeam_p2p.security.secrets import Secret, label

ME, ONE, TWO = PeerId("a" * 16), PeerId("1" * 16), PeerId("2" * 16)
K1, K2, K3 = b"1" * 32, b"2" * 32, b"3" * 32


def guard(token: Secret | None = None) -> Guard:
    return Guard(ME, open_keyring(None, None), token=token, wall=lambda: 100.0)


def current(keyring: Keyring) -> bytes:
    assert keyring.current is not None
    return label(keyring.current)


def test_nobody_speaks_who_has_proved_nothing() -> None:
    assert guard().speaker(K1) is None


def test_who_has_proved_the_secret_is_pending_and_may_speak() -> None:
    here = guard()
    told: list[tuple[PeerId, bytes]] = []
    here.on_pending = lambda peer, key: told.append((peer, key))
    assert here.let_in(ONE, K1, current(here.keyring)) == ""
    assert here.let_in(ONE, K1, current(here.keyring)) == ""
    assert here.speaker(K1) == ONE
    assert told == [(ONE, K1)], "each once"


def test_the_first_key_under_an_id_is_that_peers_until_the_log_says_otherwise() -> None:
    here = guard()
    here.let_in(ONE, K1, current(here.keyring))
    assert here.let_in(ONE, K2, current(here.keyring)) == "other_key"
    assert here.let_in(TWO, K1, current(here.keyring)) == "other_key"
    assert not here.met(ONE, K2)
    here.update(Credentials((Credential(ONE, (K2,)),)))
    assert (here.speaker(K1), here.speaker(K2)) == (None, ONE)
    assert here.let_in(ONE, K1, current(here.keyring)) == "other_key"


def test_who_is_not_believed_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is dialled again and again, and says the same."""
    here = guard()
    here.update(Credentials((Credential(ONE, (K1,)),)))
    for _ in range(3):
        assert not here.met(ONE, K2)
    assert len(caplog.messages) == 1
    assert not here.met(ONE, K3)
    assert here.met(ONE, K1)
    assert not here.met(ONE, K3)
    assert len(caplog.messages) == 3
    for number in range(100):
        here.update(Credentials((Credential(PeerId(f"{number:016x}"), (K1,)),)))
        assert not here.met(PeerId(f"{number:016x}"), K2)
    assert len(caplog.messages) < 70


def test_members_by_the_log_speak_without_another_proof() -> None:
    here = guard()
    here.update(Credentials((Credential(ONE, (K1, K2)),)))
    assert here.speaker(K1) == here.speaker(K2) == ONE


def test_who_was_revoked_is_heard_no_more_whatever_it_proves() -> None:
    here = guard()
    here.let_in(ONE, K1, current(here.keyring))
    before = here.version
    here.update(Credentials((), (Credential(ONE, (K1,)),)))
    assert here.version > before
    assert here.speaker(K1) is None
    assert here.is_revoked(K1)
    assert here.let_in(ONE, K1, current(here.keyring)) == "revoked"
    assert here.let_in(ONE, K2, current(here.keyring)) == "revoked"
    assert here.let_in(TWO, K1, current(here.keyring)) == "revoked"
    assert not here.met(ONE, K1)


def test_a_copy_of_this_peer_is_not_let_in() -> None:
    here = guard()
    assert here.let_in(ME, K1, current(here.keyring)) == "identity"
    assert here.let_in(ONE, here.public_key, current(here.keyring)) == "identity"


def test_the_previous_secret_opens_for_members_alone() -> None:
    here = guard()
    old = current(here.keyring)
    here.update(Credentials((Credential(ONE, (K1,)),), (), b""))
    here.update(Credentials((Credential(ONE, (K1,)),), (), label(here.keyring.propose())))
    assert current(here.keyring) != old
    assert here.let_in(TWO, K2, old) == "rotated"
    assert here.let_in(ONE, K1, old) == ""
    assert here.secret_of(old) is not None


def test_a_secret_that_was_proposed_here_counts_once_the_log_says_so() -> None:
    here = guard()
    proposed = here.keyring.propose()
    assert here.secret_of(label(proposed)) is None
    here.update(Credentials((), (), label(proposed)))
    assert here.keyring.current == proposed
    assert not here.lacks_secret


def test_who_missed_a_rotation_lacks_the_secret_until_it_is_told() -> None:
    here, secret = guard(), Secret(b"n" * 32)
    here.update(Credentials((), (), label(secret)))
    assert here.lacks_secret
    here.handed(Secret(b"x" * 32))
    assert here.lacks_secret, "not the one that was agreed on"
    here.handed(secret)
    assert here.keyring.current == secret
    assert not here.lacks_secret


def test_who_misses_a_rotation_believes_members_alone_until_it_is_told() -> None:
    """What others can prove to it is the secret that is over: whoever was to be shut out has it."""
    here = guard()
    members = Credential(ME, (here.public_key,)), Credential(ONE, (K1,))
    old, new = current(here.keyring), Secret(b"n" * 32)
    here.update(Credentials())
    here.update(Credentials(members))
    here.update(Credentials(members, (), label(new)))
    assert here.lacks_secret
    assert here.let_in(TWO, K2, old) == "rotated"
    assert not here.met(TWO, K2)
    assert here.speaker(K2) is None
    assert here.let_in(ONE, K1, old) == ""
    assert here.met(ONE, K1)
    here.handed(new)
    assert here.let_in(TWO, K2, label(new)) == ""
    assert here.met(TWO, K2)


def test_a_log_that_is_older_than_the_secret_shuts_nobody_out() -> None:
    """What stands behind names the secret, and is told by who proves it: a leader perhaps, that was
    admitted since."""
    outdated = label(Secret(b"o" * 32))
    disk = guard()
    me = Credential(ME, (disk.public_key,))
    disk.update(Credentials((me,), (), outdated))
    guest = guard()
    guest.update(Credentials())
    guest.update(Credentials((), (), outdated))
    away = guard()
    away.update(Credentials((me,)))
    before = current(away.keyring)
    away.keyring.rotate(Secret(b"n" * 32))
    away.update(Credentials((me,), (), before))
    for here in (disk, guest, away):
        assert here.lacks_secret
        assert here.let_in(TWO, K2, current(here.keyring)) == ""
        assert here.met(TWO, K2)


def test_an_invitation_ends_with_the_secret_also_where_the_new_one_is_not_known_yet() -> None:
    here, secret = guard(), Secret(b"n" * 32)
    name = label(here.keyring.invite(seconds=10, once=False, wall=100.0))
    here.update(Credentials((), (), label(secret)))
    assert here.lacks_secret
    assert here.secret_of(name) is None
    here.handed(secret)
    assert here.secret_of(name) is None
    assert here.let_in(ONE, K1, name) == "unknown_code"
    again = label(here.keyring.invite(seconds=10, once=False, wall=100.0))
    assert here.let_in(ONE, K1, again) == ""


def test_who_waits_for_its_inviter_lets_nobody_in() -> None:
    gate, token = Secret(b"gategate"), Secret(b"t" * 10)
    here = Guard(ME, open_keyring(None, None, joins_gate=gate), token=token)
    assert here.waits_for_inviter
    assert here.provable() == (token,)
    assert here.secret_of(label(token)) is None
    here.handed(Secret(b"s" * 32))
    assert not here.waits_for_inviter
    assert here.provable()[0] == Secret(b"s" * 32)


def test_an_invitation_for_one_lets_one_in() -> None:
    here = guard()
    name = label(here.keyring.invite(seconds=10, once=True, wall=100.0))
    assert here.secret_of(name) is not None
    assert here.let_in(ONE, K1, name) == ""
    assert here.let_in(TWO, K2, name) == "used"
    assert here.speaker(K2) is None


def test_pending_keys_are_bounded_and_members_stay() -> None:
    here = guard()
    here.update(Credentials((Credential(ONE, (K1,)),)))
    for number in range(PENDING_MAX + 5):
        peer = PeerId(f"{number:016x}")
        here.let_in(peer, number.to_bytes(32, "big"), current(here.keyring))
    assert here.speaker((0).to_bytes(32, "big")) is None
    assert here.speaker((PENDING_MAX + 4).to_bytes(32, "big")) is not None
    assert here.speaker(K1) == ONE
