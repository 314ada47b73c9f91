"""Two hosts, as two users' folders on this one: what a code lets in, and what it does not."""

import base64
import os
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from zmq.utils import z85

from mabeam_p2p.api import keys
from mabeam_p2p.security import codes
from tests.cli.daemons import (
    CLUSTER,
    SECONDS,
    Daemon,
    House,
    environment,
    house,
    in_one_of,
    mabeam,
    told,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house(is_patient=True) as place:
        yield place


@contextmanager
def elsewhere(place: House, name: str = "b") -> Iterator[Path]:
    """As another user, who shares nothing with the first."""
    folder = place.folder / name
    (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield folder


def listed(key: str, *verb: str) -> list[dict[str, object]]:
    found = told(*verb)[key]
    assert isinstance(found, list)
    return found


def standings() -> set[tuple[object, object]]:
    """Names of the peers whose keys are known, and what became of them."""
    return {(one["name"], one["state"]) for one in listed("peers", "keys", "list")}


def invited(place: House, expect: int = 2) -> tuple[Daemon, str]:
    """A first peer, and the code that it prints."""
    daemon = place.start("--expect", str(expect), name="ant")
    return daemon, str(daemon.line()["join"])


def test_two_commands_make_a_cluster_of_two_hosts(place: House) -> None:
    daemon, code = invited(place)
    with elsewhere(place):
        other = place.start("--expect", "2", "--join", code, name="bee")
        assert other.line()["event"] == "listening"
        assert other.line()["event"] == "ready"
        assert daemon.line()["event"] == "ready"
        until(lambda: standings() == {("ant", "admitted"), ("bee", "admitted")})


def test_who_has_no_code_is_not_heard(place: House) -> None:
    daemon, _ = invited(place, expect=1)
    address = str(daemon.line()["address"])
    with elsewhere(place):
        other = place.start("--expect", "1", "--seed", address, name="bee")
        other.line()
        assert other.line()["event"] == "ready", "it is a cluster by itself"
    assert [one["name"] for one in listed("members", "members")] == ["ant"]


def test_a_code_comes_from_a_file_or_the_environment(place: House) -> None:
    _, code = invited(place, expect=1)
    (place.folder / "code").write_text(code + "\n")
    with elsewhere(place):
        by_file = place.start("--expect", "1", "--join", f"@{place.folder / 'code'}", name="bee")
        by_file.line()
        assert by_file.line()["event"] == "ready"
    with elsewhere(place, "c"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MABEAM_JOIN_CODE", code.lower())
        by_variable = place.start("--expect", "1", name="cat")
        by_variable.line()
        assert by_variable.line()["event"] == "ready"
        shown = mabeam("config", "show", "--origin").stdout
    assert {one["name"] for one in listed("members", "members")} == {"ant", "bee", "cat"}
    assert "(redacted)" in shown
    assert code.lower() not in shown


def piped(place: House, text: str) -> Daemon:
    """One that reads its code from a pipe that this went into."""
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode())
        return place.start("--expect", "1", "--join", "-", name="bee", stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_code_comes_through_a_pipe(place: House) -> None:
    _, code = invited(place, expect=1)
    with elsewhere(place):
        other = piped(place, f"{code}\n")
        assert other.line()["event"] == "listening"
        assert other.line()["event"] == "ready"
    assert {one["name"] for one in listed("members", "members")} == {"ant", "bee"}


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_pipe_without_a_code_is_named(place: House, text: str) -> None:
    empty = piped(place, text)
    assert empty.wait() == 78
    assert "there is no join code in standard input" in empty.said()


def test_a_code_is_asked_for_at_a_terminal_and_not_shown_there(place: House) -> None:
    _, code = invited(place, expect=1)
    screen, keyboard = os.openpty()
    # Whoever runs this may have a terminal, too: that one is not asked.
    own = ("setsid", "--ctty")
    try:
        with elsewhere(place):
            other = place.start(
                "--expect", "1", "--join", "-", name="bee", under=own, stdin=keyboard
            )
            # What is said there is said once nothing that is typed is shown any more.
            assert select.select([screen], [], [], SECONDS)[0], "nothing is asked there"
            shown = os.read(screen, 1024)
            os.write(screen, code.encode() + b"\n")
            other.line()
            assert other.line()["event"] == "ready"
        os.set_blocking(screen, False)
        with suppress(BlockingIOError):
            shown += os.read(screen, 1024)
    finally:
        os.close(keyboard)
        os.close(screen)
    everything = shown.decode() + other.said()
    assert "Join code:" in everything
    assert code not in everything
    assert {one["name"] for one in listed("members", "members")} == {"ant", "bee"}


def test_who_joins_by_a_code_forms_no_cluster_of_its_own(place: House) -> None:
    """Whatever it expects, and however long it waits for its inviter."""
    daemon, code = invited(place, expect=1)
    daemon.line()
    daemon.signal(signal.SIGSTOP)
    with elsewhere(place):
        other = place.start("--expect", "1", "--join", code, name="bee")
        other.line()
        other.wait_until_it_says("waits")
        assert told("status")["cluster_id"] == ""
        daemon.signal(signal.SIGCONT)
        assert other.line()["event"] == "ready"
        assert {one["name"] for one in listed("members", "members")} == {"ant", "bee"}


def test_a_code_with_a_typing_error_is_named_before_anything_is_done(place: House) -> None:
    _, code = invited(place)
    spoiled = code[:-1] + ("0" if code[-1] != "0" else "1")
    with elsewhere(place) as folder:
        other = place.start("--join", spoiled, name="bee")
        assert other.wait() == 78
        assert "typing error" in other.said()
        assert spoiled not in other.said()
        assert not (folder / "state" / "mabeam").exists()


def test_a_code_for_one_lets_in_one_and_says_so_to_the_next(place: House) -> None:
    invited(place, expect=1)[0].line()
    code = told("keys", "invite", "--once")["code"]
    with elsewhere(place):
        other = place.start("--expect", "1", "--join", str(code), name="bee")
        other.line()
        assert other.line()["event"] == "ready"
        # It needs no code any more, and is not harmed by one that is used up.
        other.signal(signal.SIGTERM)
        assert other.wait() == 0
        other = place.start("--expect", "1", "--join", str(code), name="bee")
        other.line()
        assert other.line()["event"] == "ready"
    with elsewhere(place, "c"):
        third = place.start("--expect", "1", "--join", str(code), name="cat")
        third.line()
        assert third.wait() == 1
        assert "has let in another peer already" in third.said()


def test_a_code_that_has_expired_is_told_so(place: House) -> None:
    invited(place, expect=1)[0].line()
    code = told("keys", "invite", "--seconds", "0.001")["code"]
    with elsewhere(place):
        other = place.start("--expect", "1", "--join", str(code), name="bee")
        other.line()
        assert other.wait() == 1
        assert "has expired" in other.said()


def test_a_code_is_void_once_the_secret_was_rotated_and_members_go_on(place: House) -> None:
    daemon, code = invited(place)
    with elsewhere(place):
        other = place.start("--expect", "2", "--join", code, name="bee")
        other.line()
        assert other.line()["event"] == "ready"
    daemon.line()
    label = told("keys", "rotate", "--secret")["secret"]
    with elsewhere(place):
        other.signal(signal.SIGKILL)
        other.wait()
        # It may have missed the rotation: it is a member by its key, and is told.
        other = place.start("--expect", "2", name="bee")
        other.line()
        assert other.line()["event"] == "ready"
        until(lambda: mabeam("keys", "list").stderr.strip().endswith(str(label)))
        secret = place.folder / "b" / "state" / "mabeam" / "test" / "bee" / "cluster.secret"
        assert secret.stat().st_mode & 0o777 == 0o600
    with elsewhere(place, "c"):
        third = place.start("--expect", "2", "--join", code, name="cat")
        third.line()
        assert third.wait() == 1
        assert "ask for a new one" in third.said()


def roles(*names: str) -> dict[str, tuple[object, object]]:
    """Role and term of each, once all are in the term of one that leads."""
    found: dict[str, tuple[object, object]] = {}

    def are_led() -> bool:
        facts = {name: told("status", "--addr", name) for name in names}
        found.update((name, (one["role"], one["term"])) for name, one in facts.items())
        return (
            "leader" in {role for role, _ in found.values()}
            and len({term for _, term in found.values()}) == 1
        )

    until(are_led)
    return found


@pytest.mark.parametrize("expect", [1, 2], ids=["a learner", "a voter"])
def test_the_only_other_peer_follows_a_rotated_key(
    place: House, monkeypatch: pytest.MonkeyPatch, expect: int
) -> None:
    """Nobody else could tell it: what it misses here it would never hear."""
    monkeypatch.setenv("MABEAM_TIMING__ELECTION_TIMEOUT_SECONDS", "2")
    daemon, code = invited(place, expect)
    with elsewhere(place):
        other = place.start("--expect", str(expect), "--join", code, name="bee")
        other.line()
        assert other.line()["event"] == "ready"
    daemon.line()
    until(lambda: {"ant", "bee"} == admitted().keys())

    def goes_on_in_its_term() -> bool:
        until(lambda: mabeam("transfer", "ant").exit_code == 0)
        before, term = admitted(), told("status")["term"]
        after = before | {"ant": [told("keys", "rotate")["key"]]}
        with elsewhere(place):
            assert told("set", "lr", "0.1", "--wait", "all")["applied"] == ["ant"]
            until(lambda: admitted() == after)
            seen = told("status")
            return (seen["quorum"], seen["term"]) == (True, term)

    in_one_of(3, goes_on_in_its_term)


def admitted(at: str | None = None) -> dict[object, object]:
    """Keys of the peers that are let in, by their names."""
    rows = listed("peers", "keys", "list", *(() if at is None else ("--addr", at)))
    return {one["name"]: one["keys"] for one in rows if one["state"] == "admitted"}


def test_a_leader_that_rotates_its_key_goes_on_to_lead(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_TIMING__ELECTION_TIMEOUT_SECONDS", "2")
    names = ("ant", "bee", "cat")
    place.started(*names)

    def leads_on() -> bool:
        before = roles(*names)
        leader = next(name for name, (role, _) in before.items() if role == "leader")
        rotated = told("keys", "rotate", "--addr", leader)
        until(lambda: admitted("ant")[leader] == [rotated["key"]])
        told("set", "x", "1")
        assert rotated["behind"] == []
        # Whoever is a suspect just then is not waited for.
        is_followed = rotated["followed"] == sorted(set(names) - {leader})
        return is_followed and roles(*names) == before

    in_one_of(3, leads_on)


def state_of(name: str, at: str) -> object:
    """What a member is for another one."""
    rows = listed("members", "members", "--addr", at)
    return {row["name"]: row["state"] for row in rows}[name]


def test_a_voter_that_is_away_stops_a_rotation_before_it_could_lose_its_leader(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would know the former key alone, and could not be told the log by who has another."""
    daemons = dict(zip(("ant", "bee", "cat"), place.started("ant", "bee", "cat"), strict=True))
    leader = next(name for name, (role, _) in roles(*daemons).items() if role == "leader")
    away = next(name for name in daemons if name != leader)
    key = told("keys", "list", "--addr", leader)["key"]
    daemons[away].signal(signal.SIGKILL)
    daemons[away].wait()

    def is_refused_for_who_is_away() -> bool:
        failed = mabeam("keys", "rotate", "--addr", leader)
        assert failed.exit_code == 75
        return away in failed.stderr

    with monkeypatch.context() as patch:
        patch.setattr(keys, "KNOWN_SECONDS", 1.0)
        until(is_refused_for_who_is_away)
    assert told("keys", "list", "--addr", leader)["key"] == key
    again = place.start("--expect", "3", name=away)
    again.line()
    assert again.line()["event"] == "ready"
    until(lambda: state_of(away, leader) == "alive")

    def is_followed_by_all() -> bool:
        rotated = told("keys", "rotate", "--addr", leader)
        assert rotated["key"] != key
        assert rotated["behind"] == []
        return rotated["followed"] == sorted(set(daemons) - {leader})

    in_one_of(3, is_followed_by_all)


def test_who_was_revoked_is_told_so_and_stays_out(place: House) -> None:
    daemon = place.start("--expect", "2", name="ant")
    listening = daemon.line()
    code, address = str(listening["join"]), str(listening["address"])
    with elsewhere(place):
        other = place.start("--expect", "2", "--join", code, name="bee")
        other.line()
        assert other.line()["event"] == "ready"
    daemon.line()
    himself = mabeam("keys", "revoke", "ant")
    assert himself.exit_code == 1
    assert "by way of another one" in himself.stderr
    assert mabeam("keys", "revoke", "bee").exit_code == 0
    with elsewhere(place):
        assert other.wait() == 1
        assert "this peer was revoked" in other.said()
        assert "with an empty data folder" in other.said()
        again = place.start("--expect", "2", "--seed", str(address), name="bee")
        assert again.wait() == 1, "and it is told so again"
        assert "this peer was revoked" in again.said()
    states = {one["name"]: one["state"] for one in listed("peers", "keys", "list")}
    assert states == {"ant": "admitted", "bee": "revoked"}
    until(lambda: told("status")["quorum"] is True)


def test_a_key_that_others_can_read_stops_the_start(place: House) -> None:
    daemon, _ = invited(place)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    key = place.folder / "state" / "mabeam" / "test" / "ant" / "peer.key"
    os.chmod(key, 0o644)
    again = place.start(name="ant")
    assert again.wait() == 78
    assert "chmod 600" in again.said()


def forms(secret: bytes) -> list[str]:
    """As somebody might print it."""
    return [
        secret.hex(),
        base64.b64encode(secret).decode(),
        z85.encode(secret.ljust(32, b"\0")[:32]).decode(),
        str(secret)[2:-1],
    ]


def secrets_in(folder: Path, *names: str) -> list[bytes]:
    """All that stand in these files of a data folder; by default in all that have some."""
    found: list[bytes] = []
    for name in names or ("peer.key", "cluster.secret"):
        fields: dict[str, object] = msgspec.json.decode((folder / name).read_bytes())
        found += [
            base64.b64decode(str(value))
            for key, value in fields.items()
            if key in ("secret", "current", "previous", "gate", "next_secret") and value
        ]
    return found


FAILING = """
import sys, traceback
from mabeam_p2p import assembly
from mabeam_p2p.cli import main

def fail(guard, codec):
    keyring = guard.keyring
    kept = [keyring, keyring.pair, keyring.gate, keyring.current, keyring._content()]
    raise RuntimeError(guard, kept, vars(guard), vars(keyring))

def told(kind, error, trace):
    sys.__excepthook__(kind, error, trace)
    with_locals = traceback.TracebackException(kind, error, trace, capture_locals=True)
    sys.stderr.write("".join(with_locals.format()))

assembly.Gatekeeper = fail
sys.excepthook = told
main()
"""
"""`mabeam`, but that it fails where it has all secrets in its hands, and tells the values of its
local variables, too, as reporters of errors do."""


@pytest.mark.parametrize("has_code", [False, True], ids=["a first peer", "one with a code"])
def test_a_traceback_shows_no_secret(
    place: House, monkeypatch: pytest.MonkeyPatch, has_code: bool
) -> None:
    gate, token, code = codes.new_gate(), codes.new_token(), ""
    if has_code:
        code = codes.encode(codes.JoinCode("127.0.0.1:1", gate, token, CLUSTER))
        monkeypatch.setenv("MABEAM_JOIN_CODE", code)
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, "up", "--name", "ant", "--no-mdns"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SECONDS,
    )
    shown = ended.stdout + ended.stderr
    assert ended.returncode == 70
    assert shown.count("RuntimeError: (<mabeam_p2p.security.guard.Guard") == 2
    assert "    keyring = <mabeam_p2p.security.keyring.Keyring" in shown
    assert "Secret(redacted)" in shown
    folder = place.folder / "state" / "mabeam" / CLUSTER / "ant"
    secrets = secrets_in(folder, *(["peer.key"] if has_code else ["peer.key", "cluster.secret"]))
    secrets += [gate.reveal(), token.reveal(), code.encode()] if has_code else []
    assert len(secrets) >= 3
    for secret in secrets:
        for form in forms(secret):
            assert form not in shown


def test_secrets_are_neither_logged_nor_shown(place: House) -> None:
    machines = ("--verbose", "--log-format", "json", "--metrics", "0")
    daemon = place.start("--expect", "2", *machines, name="ant")
    listening = daemon.line()
    code = str(listening["join"])
    with elsewhere(place):
        other = place.start("--expect", "2", "--verbose", "--join", code, name="bee")
        other.line()
        assert other.line()["event"] == "ready"
        shown = mabeam("status", "--json").output + mabeam("keys", "list", "--json").output
        assert mabeam("keys", "rotate", "--secret").exit_code == 0
        another = str(told("keys", "invite")["code"])
        dumps = [mabeam("dump").output]
    daemon.line()
    for verb in (("status",), ("info",), ("members",), ("keys", "list"), ("config", "show")):
        shown += mabeam(*verb).output + mabeam(*verb, "--json").output
    for name in ("ant", "bee"):
        shown += mabeam("why", name, "--json").output
    shown += mabeam("doctor", "--name", "ant", "--no-mdns", "--json").output
    shown += mabeam("log").output
    dumps.append(mabeam("dump").output)
    for dump in dumps:
        assert "keyring: Keyring" in dump, "it has looked at where the secrets are"
    with urllib.request.urlopen(f"http://{listening['metrics']}/metrics") as page:
        shown += page.read().decode()
    shown += "".join(dumps)
    place.start("--expect", "1", "--listen", str(listening["address"]), name="cat").wait()
    shown += daemon.said() + other.said()
    secrets = secrets_in(place.folder / "state" / "mabeam" / "test" / "ant")
    secrets += secrets_in(place.folder / "b" / "state" / "mabeam" / "test" / "bee")
    assert len(secrets) >= 6
    for secret in secrets:
        for form in forms(secret):
            assert form not in shown
    for given in (code, another):
        assert given not in shown
