import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mabeam_p2p.cli.up import ending_signals
from mabeam_p2p.config import PROTOCOL_VERSION
from tests.cli.daemons import House, house, mabeam, told, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def test_daemon_prints_a_line_when_it_listens_and_one_when_it_is_ready(place: House) -> None:
    daemon = place.start("--expect", "1")
    listening, ready = daemon.line(), daemon.line()
    assert (listening["event"], ready["event"]) == ("listening", "ready")
    assert (listening["name"], listening["cluster"]) == ("ant", "test")
    assert str(listening["address"]).startswith("127.0.0.1:")
    assert Path(str(listening["socket"])).stat().st_mode & 0o777 == 0o600
    assert told("status")["role"] == "leader"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)],
    ids=["TERM", "INT", "HUP"],
)
def test_signal_leaves_the_cluster_and_removes_the_socket(
    place: House, number: signal.Signals, code: int
) -> None:
    daemon = place.start("--expect", "1")
    path = Path(str(daemon.line()["socket"]))
    daemon.line()
    daemon.signal(number)
    assert daemon.wait() == code
    assert not path.exists()
    assert "Traceback" not in daemon.said()


def test_a_terminal_that_goes_is_no_second_word_of_somebody_impatient(place: House) -> None:
    """The kernel, the shell and the session's manager may all say it, at once."""
    daemon = place.start("--expect", "1")
    path = Path(str(daemon.line()["socket"]))
    daemon.line()
    daemon.signal(signal.SIGSTOP)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
        daemon.signal(number)
    assert daemon.wait() == 0
    assert not path.exists()


def test_a_terminal_that_goes_ends_nobody_who_was_told_to_outlive_it() -> None:
    """As by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in ending_signals()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in ending_signals()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_member_that_leaves_is_known_to_have_left(place: House) -> None:
    ant, _, _ = place.started("ant", "bee", "cow")
    ant.signal(signal.SIGTERM)
    assert ant.wait() == 0

    def state_of_ant() -> object:
        members = told("members", "--addr", "bee")["members"]
        assert isinstance(members, list)
        return {m["name"]: m["state"] for m in members}["ant"]

    until(lambda: state_of_ant() == "left")


def test_down_stops_the_daemon_and_its_data_stay(place: House) -> None:
    daemon = place.start("--expect", "1")
    identity = daemon.line()["peer"]
    daemon.line()
    assert mabeam("down").exit_code == 0
    assert daemon.wait() == 0
    assert mabeam("status").exit_code == 69
    assert place.start("--expect", "1").line()["peer"] == identity


def test_killed_daemon_comes_back_with_what_it_knew(place: House) -> None:
    (daemon,) = place.started("ant")
    assert mabeam("set", "rate", "0.5").exit_code == 0
    term = told("status")["term"]
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    place.started("ant")
    assert told("get", "rate")["value"] == 0.5
    status = told("status")
    assert isinstance(status["term"], int)
    assert isinstance(term, int)
    assert status["term"] > term


def refused(
    place: House, *flags: str, name: str = "ant", under: Sequence[str] = ()
) -> tuple[int, str]:
    """Exit code and message of a daemon that must not start."""
    daemon = place.start(*flags, name=name, under=under)
    code, said = daemon.wait(), daemon.said()
    assert "Traceback" not in said
    assert daemon.process.stdout is not None
    assert daemon.process.stdout.read() == b""
    return code, said


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="nothing here leaves a core"
)
def test_daemon_leaves_no_copy_of_its_memory_if_it_is_killed(place: House) -> None:
    daemon = place.start("--expect", "1", under=("prlimit", "--core=4096:"))
    assert daemon.line()["event"] == "listening"
    assert resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE)[0] == 0


def test_second_daemon_of_a_name_on_this_host_is_refused(place: House) -> None:
    place.start("--expect", "1").line()
    code, said = refused(place, "--data-dir", "elsewhere")
    assert code == 1
    assert "a daemon named 'ant' already runs" in said
    assert "mabeam down --cluster test --addr ant" in said
    assert mabeam("status").exit_code == 0


def test_data_folder_that_is_held_is_refused(place: House) -> None:
    place.start("--expect", "1", "--data-dir", "data").line()
    code, said = refused(place, "--data-dir", "data", name="bee")
    assert code == 1
    assert "data" in said
    assert not list((place.folder / "run").rglob("bee.sock"))


def test_port_that_is_taken_is_refused(place: House) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, said = refused(place, "--listen", f"127.0.0.1:{port}")
    assert code == 75, "it may be free soon: a unit tries again"
    assert str(port) in said


def test_a_port_alone_is_no_address(place: House) -> None:
    code, said = refused(place, "--listen", "7946")
    assert code == 78
    assert "HOST:PORT" in said


def test_plain_text_is_refused_where_there_were_keys(place: House) -> None:
    (daemon,) = place.started("ant")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    for name in ("ant", "bee"):
        code, said = refused(place, "--insecure-plaintext", name=name)
        assert code == 78
        assert "insecure_plaintext is refused" in said


def test_plain_text_is_warned_of_at_every_start(place: House) -> None:
    for _ in range(2):
        daemon = place.start("--expect", "1", "--insecure-plaintext")
        assert daemon.line()["event"] == "listening"
        assert "INSECURE" in daemon.said()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_unknown_key_of_a_file_is_refused_with_the_nearest(place: House) -> None:
    (place.folder / "mabeam.toml").write_text("lisen = '127.0.0.1:0'\n")
    code, said = refused(place)
    assert code == 78
    assert "'listen'" in said
    assert "mabeam.toml" in said


def test_data_folder_that_cannot_be_made_is_refused(place: House) -> None:
    (place.folder / "file").write_text("")
    code, said = refused(place, "--data-dir", "file/data")
    assert code == 78
    assert "file" in said


def test_a_user_without_a_home_is_told_what_to_set(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable)
    planted = (
        "import pwd, sys\n"
        "from mabeam_p2p.cli import main\n"
        "def unknown(user): raise KeyError(user)\n"
        "pwd.getpwuid = unknown\n"
        "main(sys.argv[4:])\n"  # In place of `-m mabeam_p2p`.
    )
    under = (sys.executable, "-c", planted)
    code, said = refused(place, under=under)
    assert code == 78
    assert "--data-dir" in said
    daemon = place.start("--expect", "1", "--data-dir", "data", under=under)
    assert [daemon.line()["event"] for _ in range(2)] == ["listening", "ready"]


def test_damaged_log_is_refused_and_left_as_it_is(place: House) -> None:
    daemon = place.start("--expect", "1", "--data-dir", "data")
    daemon.line()
    daemon.line()
    assert mabeam("set", "rate", "1").exit_code == 0
    assert mabeam("down").exit_code == 0
    daemon.wait()
    log = place.folder / "data" / "peer.db"
    damaged = bytearray(log.read_bytes())
    for position in range(100, len(damaged), 7):
        damaged[position] ^= 0xFF
    log.write_bytes(damaged)
    code, said = refused(place, "--data-dir", "data")
    assert code == 78
    assert log.name in said
    assert log.read_bytes() == damaged


def on_another_host(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started from now on has sockets of its own, so that no socket tells of a name."""
    folder = place.folder / "other"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def test_name_that_another_member_has_is_refused_by_the_cluster(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ant,) = place.started("ant")
    address = str(told("status")["address"])
    on_another_host(place, monkeypatch)
    daemon = place.start("--seed", address, "--data-dir", "twin")
    assert daemon.line()["event"] == "listening"
    assert daemon.wait() == 1
    assert "take another one" in daemon.said()
    assert "Traceback" not in daemon.said()
    assert ant.process.poll() is None


def test_peer_that_meets_another_cluster_says_so_and_goes_on_looking(place: House) -> None:
    plain = "--insecure-plaintext"
    address = str(place.start("--expect", "1", plain).line()["address"])
    daemon = place.start("--seed", address, plain, name="bee", cluster="other")
    daemon.line()
    daemon.wait_until_it_says("reason=cluster")
    assert daemon.process.poll() is None
    assert told("status", "--cluster", "other")["role"] == "none"


def test_version_of_the_protocol_is_told() -> None:
    assert told("version")["protocol"] == PROTOCOL_VERSION
