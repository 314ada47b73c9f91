import errno
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mabeam_p2p.errors import KeyFileError, Overloaded
from mabeam_p2p.security import files
from mabeam_p2p.security.codes import new_gate
from mabeam_p2p.security.keyring import (
    FILE_VERSION,
    INVITATIONS_MAX,
    JOINED_NAME,
    KEY_NAME,
    SECRET_NAME,
    JoinedFile,
    Keyring,
    gate_key_pair,
    inviter_of,
    open_keyring,
)
from mabeam_p2p.security.secrets import Secret, label


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    folder = tmp_path / "peer"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "default"


def present(keyring: Keyring) -> Secret:
    assert keyring.current is not None
    return keyring.current


def test_keys_and_secret_are_kept_and_are_this_users_alone(folder: Path, shared: Path) -> None:
    first = open_keyring(folder, shared)
    first.invite(seconds=10, once=True, wall=0.0)
    again = open_keyring(folder, shared)
    assert again.pair == first.pair
    assert (again.gate, again.current) == (first.gate, first.current)
    for path in (*folder.iterdir(), shared):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(shared.parent.stat().st_mode) == 0o700


def test_peers_of_one_user_share_the_secret_and_not_the_key(folder: Path, shared: Path) -> None:
    other = folder.with_name("other")
    other.mkdir(mode=0o700)
    one, two, three = (open_keyring(where, shared) for where in (folder, other, None))
    assert one.current == two.current == three.current is not None
    assert one.gate == two.gate == three.gate
    assert len({ring.pair.public for ring in (one, two, three)}) == 3


def test_without_a_shared_file_each_peer_has_a_secret_of_its_own(folder: Path) -> None:
    assert open_keyring(folder, None).current != open_keyring(None, None).current


def test_the_secret_in_the_data_folder_goes_before_the_shared_one(
    folder: Path, shared: Path
) -> None:
    own = open_keyring(folder, None)
    assert open_keyring(None, shared).current != own.current
    assert open_keyring(folder, shared).current == own.current


@pytest.mark.parametrize("name", [KEY_NAME, SECRET_NAME])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(
    folder: Path, shared: Path, name: str, mode: int
) -> None:
    open_keyring(folder, shared)
    (folder / name).chmod(mode)
    with pytest.raises(KeyFileError, match=rf"{name} has mode {mode:04o}.*chmod 600"):
        open_keyring(folder, shared)


def test_a_shared_file_that_others_can_read_is_refused(folder: Path, shared: Path) -> None:
    open_keyring(None, shared)
    shared.chmod(0o644)
    with pytest.raises(KeyFileError, match="mode 0644"):
        open_keyring(folder, shared)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 700"):
        open_keyring(folder, None)


def test_a_symbolic_link_is_not_followed(folder: Path, shared: Path) -> None:
    open_keyring(folder, shared)
    moved = folder / "moved"
    os.rename(folder / KEY_NAME, moved)
    (folder / KEY_NAME).symlink_to(moved)
    with pytest.raises(KeyFileError, match="cannot be used"):
        open_keyring(folder, shared)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / KEY_NAME, 0o600)
    with pytest.raises(KeyFileError, match="no plain file"):
        open_keyring(folder, None)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_or_folder_of_another_user_is_refused(folder: Path, shared: Path) -> None:
    open_keyring(folder, shared)
    os.chown(folder / KEY_NAME, 65_534, 65_534)
    with pytest.raises(KeyFileError, match="belongs to user 65534"):
        open_keyring(folder, shared)
    os.chown(folder, 65_534, 65_534)
    with pytest.raises(KeyFileError, match="belongs to user 65534"):
        open_keyring(folder, shared)


@pytest.mark.parametrize(
    "text", ["", "{", '{"version": 1, "secret": "canary"}', "[1]", "\0", '{"canary\udcff": 1}']
)
def test_a_damaged_file_is_named_and_not_shown(folder: Path, text: str) -> None:
    open_keyring(folder, None)
    (folder / KEY_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(KeyFileError, match="is damaged") as caught:
        open_keyring(folder, None)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_flipped_bit_in_the_address_of_the_inviter_is_named(folder: Path) -> None:
    files.write(folder / JOINED_NAME, JoinedFile(FILE_VERSION, "192.0.2.1:7946"))
    data = (folder / JOINED_NAME).read_bytes()
    (folder / JOINED_NAME).write_bytes(data.replace(b"7946", b"79\xb46"))
    with pytest.raises(KeyFileError, match="is damaged") as caught:
        inviter_of(folder)
    assert caught.value.__cause__ is None


def test_a_peer_that_has_lost_its_key_is_told_so_and_takes_no_other(folder: Path) -> None:
    """Under another one nobody believes that it is that peer: it would wait for ever, or lead alone
    a cluster that nobody can join."""
    before = open_keyring(folder, None)
    saved = (folder / KEY_NAME).read_bytes()
    (folder / KEY_NAME).unlink()
    for _ in range(2):
        with pytest.raises(KeyFileError, match=rf"{KEY_NAME} is missing.*from a copy"):
            open_keyring(folder, None)
        assert not (folder / KEY_NAME).exists()
    (folder / KEY_NAME).write_bytes(saved)
    (folder / KEY_NAME).chmod(0o600)
    assert open_keyring(folder, None).pair == before.pair


def test_a_start_that_ended_between_key_and_secret_goes_on(folder: Path) -> None:
    before = open_keyring(folder, None)
    (folder / SECRET_NAME).unlink()
    assert open_keyring(folder, None).pair == before.pair


def test_a_file_of_a_later_release_is_left_alone(folder: Path) -> None:
    open_keyring(folder, None)
    path = folder / KEY_NAME
    path.write_text(path.read_text().replace('"version":1', '"version":2'))
    with pytest.raises(KeyFileError, match="version 2"):
        open_keyring(folder, None)


def test_a_file_that_does_not_fit_is_told_and_the_one_before_stays(folder: Path) -> None:
    """The system may take a part of it, and say so in a number alone."""
    path = folder / "file"
    files.write(path, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(KeyFileError, match="cannot be used"):
            files.write(path, "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files.read(path, str) == "before"
    assert [one.name for one in folder.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "is_full", "advice"),
    [(errno.ENOSPC, True, "free some space"), (errno.EDQUOT, True, "free some space"),
     (errno.EIO, False, "and the disk")],
)  # fmt: skip
def test_a_full_disk_is_told_from_a_broken_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_full: bool, advice: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyFileError, match=advice) as found:
        files.write(folder / "file", "content")
    assert found.value.is_full == is_full


def test_a_join_secret_to_come_stays_until_the_cluster_has_decided(folder: Path) -> None:
    """Who asks again does not know what became of it. If that was agreed on, its label would name
    a secret that nobody has any more."""
    keyring = open_keyring(folder, None)
    proposed = keyring.propose()
    assert keyring.propose() == proposed
    assert open_keyring(folder, None).propose() == proposed
    keyring.rotate(Secret(b"o" * 32))
    assert keyring.propose() == proposed, "another peer's was agreed on first"
    keyring.rotate(proposed)
    assert keyring.propose() != proposed


@pytest.mark.parametrize("fault", ["readable by others", "a full disk"])
def test_what_is_shared_and_cannot_be_changed_stops_no_peer(
    folder: Path,
    shared: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each peer of the user keeps the secret in its own folder, and would end at the same entry of
    the log as all others."""
    guest = folder.with_name("guest")
    guest.mkdir(mode=0o700)
    keyring = open_keyring(folder, shared)
    before = present(keyring)
    joining = open_keyring(guest, shared, joins_gate=new_gate())
    assert joining.gate is not None
    write = files.write

    def fails(path: Path, content: object) -> None:
        if path == shared:
            raise KeyFileError(f"{path} cannot be used", path=str(path))
        write(path, content)

    if fault == "readable by others":
        shared.chmod(0o644)
    else:
        monkeypatch.setattr(files, "write", fails)
        joining.join(joining.gate, Secret(b"j" * 32))
        assert "join code" in caplog.messages.pop()
        caplog.clear()
    keyring.rotate(Secret(b"n" * 32))
    assert "join code" in caplog.text
    monkeypatch.undo()
    shared.chmod(0o600)
    assert open_keyring(folder, shared).current == Secret(b"n" * 32)
    assert open_keyring(None, shared).current == before


def test_of_many_that_create_a_file_one_does(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert [files.create(path, number) for number in range(5)] == [True, False, False, False, False]
    assert files.read(path, int) == 0
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_peer_knows_by_whose_code_it_was_let_in_once_it_was(folder: Path) -> None:
    gate = new_gate()
    keyring = open_keyring(folder, None, joins_gate=gate, inviter="192.0.2.7:7946")
    assert inviter_of(folder) == "", "nobody has let it in"
    keyring.join(gate, Secret(b"s" * 32))
    assert inviter_of(folder) == "192.0.2.7:7946"
    open_keyring(folder, None)
    assert inviter_of(folder) == "192.0.2.7:7946", "a start without a code does not forget it"
    open_keyring(folder, None, joins_gate=gate, inviter="192.0.2.8:7946")
    assert inviter_of(folder) == "192.0.2.8:7946", "a member's new code leads there"
    open_keyring(folder, None, joins_gate=new_gate(), inviter="192.0.2.9:7946")
    assert inviter_of(folder) == "192.0.2.8:7946", "that of another cluster has let nobody in"


def test_what_cannot_be_written_has_not_happened_and_is_tried_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a key, a secret or the use of a code would be told, and lost in the next crash."""
    keyring = open_keyring(folder, None)
    first, second = Secret(b"1" * 32), Secret(b"2" * 32)
    name = label(keyring.invite(seconds=10, once=True, wall=0.0))
    steps: dict[str, Callable[[], object]] = {
        "use of a code": lambda: keyring.use_invitation(name, b"k" * 32, 1.0),
        "another key": keyring.renew_key,
        "the key that was admitted": keyring.take_next,
        "the end of the former key": keyring.retire_key,
        "a secret to come": keyring.propose,
        "another secret": lambda: keyring.rotate(first),
        "another cluster": lambda: keyring.join(new_gate(), second),
    }
    for what, step in steps.items():
        before = facts(keyring)
        with monkeypatch.context() as patch:
            patch.setattr(files, "write", refuse)
            for _ in range(2):
                with pytest.raises(KeyFileError):
                    step()
            assert facts(keyring) == before, what
        step()
        assert facts(keyring) != before, what
        assert facts(open_keyring(folder, None)) == facts(keyring), what


def refuse(path: Path, content: object) -> None:
    raise KeyFileError("the disk of the test is full", path=str(path))


def facts(keyring: Keyring) -> tuple[object, ...]:
    return (
        *(keyring.pair, keyring.next, keyring.former),
        *(keyring.gate, keyring.current, keyring.previous, keyring.proposed),
        [(one.token, one.used_by) for one in keyring._invitations],
    )


def test_a_rotation_keeps_the_secret_before_and_reaches_the_users_other_peers(
    folder: Path, shared: Path
) -> None:
    keyring = open_keyring(folder, shared)
    before = keyring.current
    after = keyring.propose()
    assert open_keyring(folder, shared).proposed == after
    assert open_keyring(None, shared).current == before, "not agreed on yet"
    keyring.rotate(after)
    assert (keyring.current, keyring.previous, keyring.proposed) == (after, before, None)
    for known in (open_keyring(folder, shared), open_keyring(None, shared)):
        assert (known.current, known.previous) == (after, before)


def test_no_invitation_outlives_a_rotation_nor_a_restart_after_it(folder: Path) -> None:
    keyring = open_keyring(folder, None)
    name = label(keyring.invite(seconds=10, once=False, wall=100.0))
    keyring.rotate(keyring.propose())
    for known in (keyring, open_keyring(folder, None)):
        assert known.invitation(name) is None
        assert known.use_invitation(name, b"k" * 32, 100.0) == "unknown_code"


def test_a_rotation_leaves_the_shared_secret_of_another_cluster_alone(
    folder: Path, shared: Path
) -> None:
    keyring = open_keyring(folder, None)
    other = open_keyring(None, shared)
    keyring = open_keyring(folder, shared)
    keyring.rotate(keyring.propose())
    assert open_keyring(None, shared).current == other.current


def test_who_joins_by_a_code_waits_and_then_shares_what_it_was_told(
    folder: Path, shared: Path
) -> None:
    gate, secret = Secret(b"gate" * 2), Secret(b"s" * 32)
    keyring = open_keyring(folder, shared, joins_gate=gate)
    assert not keyring.has_joined
    assert not shared.exists()
    keyring.join(gate, secret)
    assert open_keyring(None, shared).current == secret
    again = open_keyring(folder, shared, joins_gate=gate)
    assert again.has_joined, "the code is not needed twice"


def test_a_code_of_another_cluster_is_followed(folder: Path, shared: Path) -> None:
    before = open_keyring(folder, shared)
    keyring = open_keyring(folder, shared, joins_gate=Secret(b"another!"))
    assert not keyring.has_joined
    assert open_keyring(folder, shared).current == before.current, "until the inviter has agreed"


def test_a_key_is_renewed_and_the_former_one_kept_until_it_is_retired(folder: Path) -> None:
    keyring = open_keyring(folder, None)
    before = keyring.pair
    after = keyring.renew_key()
    again = open_keyring(folder, None)
    assert (again.pair, again.next, again.renew_key()) == (before, after, after)
    again.take_next()
    again = open_keyring(folder, None)
    assert (again.pair, again.next, again.former) == (after, None, before)
    again.retire_key()
    assert open_keyring(folder, None).former is None


def test_an_invitation_for_one_lets_in_one_key_as_often_as_it_asks(folder: Path) -> None:
    keyring = open_keyring(folder, None)
    name = label(keyring.invite(seconds=10, once=True, wall=0.0))
    assert keyring.use_invitation(name, b"one", 1.0) == ""
    again = open_keyring(folder, None)
    assert again.use_invitation(name, b"two", 2.0) == "used", "also after a restart"
    assert again.use_invitation(name, b"one", 3.0) == ""


def test_an_invitation_expires_for_whoever_it_has_not_let_in(folder: Path) -> None:
    keyring = open_keyring(folder, None)
    name = label(keyring.invite(seconds=10, once=False, wall=0.0))
    assert keyring.use_invitation(name, b"one", 9.9) == ""
    assert keyring.use_invitation(name, b"two", 10.0) == "expired"
    assert keyring.use_invitation(b"other", b"one", 1.0) == "unknown_code"


def test_invitations_are_bounded_and_one_too_many_voids_no_other(folder: Path) -> None:
    keyring = open_keyring(folder, None)
    tokens = [keyring.invite(seconds=10, once=True, wall=0.0) for _ in range(INVITATIONS_MAX)]
    for once in (True, False):
        with pytest.raises(Overloaded, match="nothing was made: wait until some have expired"):
            keyring.invite(seconds=10, once=once, wall=9.0)
    # As many as there may be fit into the file.
    again = open_keyring(folder, None)
    assert [again.invitation(label(token)) for token in tokens] == tokens
    # What has expired gives way.
    token = again.invite(seconds=10, once=True, wall=10.0)
    assert again.invitation(label(token)) == token
    assert again.invitation(label(tokens[0])) is None


def test_a_peer_that_is_started_every_few_seconds_has_two_codes_of_starts_out() -> None:
    keyring = open_keyring(None, None)
    asked = keyring.invite(seconds=36_000, once=False, wall=0.0)
    made: dict[bytes, float] = {}
    for wall in range(0, 14_400, 14):
        token = keyring.invite(seconds=3600, once=False, wall=wall, again=True)
        made.setdefault(token.reveal(), wall)
        assert sum(one.expires_at > wall for one in keyring._invitations) <= 3
        for known in (one for one, since in made.items() if wall < since + 3600):
            key = wall.to_bytes(4, "big")
            assert keyring.use_invitation(label(Secret(known)), key, wall) == ""
        assert wall - made[token.reveal()] <= 1800, "half of its time is left"
    assert len(made) == 8
    assert asked.reveal() not in made, "what was asked for is for whoever asked"


def test_the_code_of_a_start_is_the_same_at_the_next_one_and_none_of_those_asked_for(
    folder: Path,
) -> None:
    first = open_keyring(folder, None).invite(seconds=60, once=False, wall=0.0, again=True)
    asked = open_keyring(folder, None).invite(seconds=60, once=False, wall=1.0)
    once = open_keyring(folder, None).invite(seconds=60, once=True, wall=1.0)
    assert open_keyring(folder, None).invite(seconds=60, once=False, wall=2.0, again=True) == first
    rotated = open_keyring(folder, None)
    rotated.rotate(rotated.propose())
    other = open_keyring(folder, None).invite(seconds=60, once=False, wall=3.0, again=True)
    assert other not in (first, asked, once), "those ended with the secret"


def test_a_code_that_was_made_while_the_clock_was_ahead_is_given_out_by_no_start(
    folder: Path,
) -> None:
    ahead = open_keyring(folder, None).invite(seconds=60, once=False, wall=1_000.0, again=True)
    right = open_keyring(folder, None).invite(seconds=60, once=False, wall=0.0, again=True)
    assert right != ahead
    assert open_keyring(folder, None).invite(seconds=60, once=False, wall=1.0, again=True) == right


def test_codes_for_one_peer_that_have_let_it_in_give_way_when_there_is_no_room(
    folder: Path,
) -> None:
    keyring = open_keyring(folder, None)
    many = keyring.invite(seconds=10, once=False, wall=0.0)
    tokens = [keyring.invite(seconds=10, once=True, wall=0.0) for _ in range(INVITATIONS_MAX - 1)]
    assert keyring.use_invitation(label(many), b"one", 1.0) == ""
    for token in tokens[3:5]:
        assert keyring.use_invitation(label(token), b"two", 1.0) == ""
    others = [many, *tokens[:3], *tokens[5:]]
    for gone in tokens[3:5]:
        assert keyring.invitation(label(gone)) == gone, "whom it has let in may ask again"
        others.append(keyring.invite(seconds=10, once=True, wall=2.0))
        assert keyring.invitation(label(gone)) is None
    assert [keyring.invitation(label(token)) for token in others] == others
    with pytest.raises(Overloaded):
        keyring.invite(seconds=10, once=True, wall=2.0)


def test_the_gates_key_is_the_same_for_all_who_know_the_gate() -> None:
    gate = Secret(b"a gate..")
    assert gate_key_pair(gate) == gate_key_pair(Secret(b"a gate.."))
    assert gate_key_pair(gate).public != gate_key_pair(Secret(b"another.")).public
