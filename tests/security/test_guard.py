from pathlib import Path

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.security.guard import PENDING_MAX, Guard
from mabeam_p2p.security.keyring import Keyring, open_keyring
from mabeam_p2p.security.secrets import Secret, label

ME, ONE, TWO, THREE = (PeerId(digit * 16) for digit in "a123")
K1, K2, K3 = b"1" * 32, b"2" * 32, b"3" * 32


def guard(token: Secret | None = None) -> Guard:
    return Guard(ME, open_keyring(None, None), token=token, wall=lambda: 100.0)


def current(keyring: Keyring) -> bytes:
    assert keyring.current is not None
    return label(keyring.current)


def met(here: Guard, peer: PeerId, key: bytes) -> bool:
    """A server has proved what this peer takes for the join secret."""
    assert here.keyring.current is not None
    return here.met(peer, key, here.keyring.current)


def told(here: Guard, secret: Secret) -> None:
    """By a member, which knew this peer's secret as the one before."""
    assert here.keyring.current is not None
    assert here.met(TWO, K2, here.keyring.current, secret)


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
    assert not met(here, ONE, K2)
    here.update(Credentials((Credential(ONE, (K2,)),)))
    assert (here.speaker(K1), here.speaker(K2)) == (None, ONE)
    assert here.let_in(ONE, K1, current(here.keyring)) == "other_key"


def test_who_is_not_believed_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is dialled again and again, and says the same."""
    here = guard()
    here.update(Credentials((Credential(ONE, (K1,)),)))
    for _ in range(3):
        assert not met(here, ONE, K2)
    assert len(caplog.messages) == 1
    assert not met(here, ONE, K3)
    assert met(here, ONE, K1)
    assert not met(here, ONE, K3)
    assert len(caplog.messages) == 3
    for number in range(100):
        here.update(Credentials((Credential(PeerId(f"{number:016x}"), (K1,)),)))
        assert not met(here, PeerId(f"{number:016x}"), K2)
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
    assert not met(here, ONE, K1)


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


def test_who_is_dialled_and_knows_the_previous_secret_alone_is_believed_if_it_is_a_member() -> None:
    """Whoever was shut out by the rotation has that, too, and can answer at any address."""
    here = guard()
    old = here.keyring.current
    assert old is not None
    members = Credential(ME, (here.public_key,)), Credential(ONE, (K1,))
    here.update(Credentials(members))
    present = here.keyring.propose()
    here.update(Credentials(members, (), label(present)))
    assert not here.met(TWO, K2, old)
    assert not here.met(TWO, K2, old, Secret(b"x" * 32))
    assert here.speaker(K2) is None
    assert here.keyring.current == present
    assert here.met(ONE, K1, old)
    assert here.met(TWO, K2, present)


def test_what_was_proved_before_a_rotation_counts_no_more() -> None:
    """Else a member could let in as many as it likes, to be shut out itself afterwards."""
    for is_missed in (False, True):
        here = guard()
        told: dict[PeerId, bytes] = {}
        here.on_pending = told.__setitem__
        members = Credential(ME, (here.public_key,)), Credential(ONE, (K1,))
        here.update(Credentials(members))
        code = label(here.invite(seconds=10, once=True))
        assert here.let_in(TWO, K2, current(here.keyring)) == ""
        assert here.let_in(THREE, K3, code) == ""
        secret = Secret(b"n" * 32) if is_missed else here.keyring.propose()
        before = here.version
        here.update(Credentials(members, (), label(secret)))
        assert here.version > before
        assert (here.speaker(K2), here.speaker(K3)) == (None, None)
        assert told == {TWO: b"", THREE: b""}
        assert here.pending() == ()
        assert here.speaker(K1) == ONE


def test_what_was_proved_with_the_secret_to_come_counts_when_it_has_come() -> None:
    here, secret = guard(), Secret(b"n" * 32)
    me = Credential(ME, (here.public_key,))
    here.update(Credentials((me,)))
    assert met(here, TWO, K2)
    assert here.met(THREE, K3, here.keyring.current or secret, secret)
    assert here.speaker(K2) is None, "this peer has taken the other one, and knows it as present"
    here.update(Credentials((me,), (), label(secret)))
    assert here.speaker(K3) == THREE


def test_a_code_is_good_until_this_peer_has_been_told_the_secret(tmp_path: Path) -> None:
    """Others may have had it, too: afterwards it makes nobody a member, and replaces no secret."""
    gate, token, secret = Secret(b"gategate"), Secret(b"t" * 10), Secret(b"s" * 32)
    tmp_path.chmod(0o700)
    for is_first in (True, False):
        here = Guard(ME, open_keyring(tmp_path, None, joins_gate=gate, inviter="a:1"), token=token)
        if is_first:
            assert here.met(ONE, K1, token, secret)
        assert here.provable() == (secret,)
        assert not here.met(TWO, K2, token, Secret(b"x" * 32))
        assert here.keyring.current == secret
        assert here.speaker(K2) is None


def test_a_new_code_helps_who_has_missed_too_many_rotations(tmp_path: Path) -> None:
    gate, secret = Secret(b"gategate"), Secret(b"s" * 32)
    tmp_path.chmod(0o700)
    for token, told in ((Secret(b"t" * 10), secret), (Secret(b"u" * 10), Secret(b"n" * 32))):
        here = Guard(ME, open_keyring(tmp_path, None, joins_gate=gate, inviter="a:1"), token=token)
        assert here.provable()[-1] == token
        assert here.met(ONE, K1, token, told)
        assert here.keyring.current == told
        assert token not in here.provable()
    # Its inviter has another key than it knows; others may be met with what it was told.
    here = Guard(ME, open_keyring(tmp_path, None, joins_gate=gate), token=Secret(b"w" * 10))
    here.update(Credentials((Credential(ONE, (K1,)),)))
    assert not here.met(ONE, K2, Secret(b"x" * 32), Secret(b"y" * 32))
    assert not here.met(ONE, K2, Secret(b"w" * 10), Secret(b"n" * 32))
    assert Secret(b"w" * 10) not in here.provable()
    # What it is told is not what its log says yet: it asks again when it is.
    here = Guard(ME, open_keyring(tmp_path, None, joins_gate=gate), token=Secret(b"v" * 10))
    here.update(Credentials((), (), label(secret)))
    assert here.met(TWO, K2, Secret(b"v" * 10), Secret(b"o" * 32))
    assert here.keyring.current == Secret(b"n" * 32)
    assert here.provable()[-1] == Secret(b"v" * 10)
    # A member is believed before the log, which is older; the one before is kept.
    here.update(Credentials((Credential(TWO, (K2,)),), (), label(secret)))
    before = here.keyring.current
    assert here.met(TWO, K2, Secret(b"x" * 32), Secret(b"y" * 32)), "by no code, and nothing taken"
    assert here.keyring.current == before
    assert here.met(TWO, K2, Secret(b"v" * 10), Secret(b"o" * 32))
    assert here.provable() == (Secret(b"o" * 32), before)


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
    told(here, Secret(b"x" * 32))
    assert here.lacks_secret, "not the one that was agreed on"
    told(here, secret)
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
    assert not met(here, TWO, K2)
    assert here.speaker(K2) is None
    assert here.let_in(ONE, K1, old) == ""
    assert met(here, ONE, K1)
    assert here.met(ONE, K1, Secret(b"o" * 32), new), "a member, whatever it is that both know"
    assert here.let_in(TWO, K2, label(new)) == ""
    assert met(here, TWO, K2)


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
        assert met(here, TWO, K2)


def test_an_invitation_ends_with_the_secret_also_where_the_new_one_is_not_known_yet() -> None:
    here, secret = guard(), Secret(b"n" * 32)
    name = label(here.keyring.invite(seconds=10, once=False, wall=100.0))
    here.update(Credentials((), (), label(secret)))
    assert here.lacks_secret
    assert here.secret_of(name) is None
    told(here, secret)
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
    assert here.met(ONE, K1, token, Secret(b"s" * 32))
    assert not here.waits_for_inviter
    assert here.provable() == (Secret(b"s" * 32),)
    assert here.speaker(K1) == ONE


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
