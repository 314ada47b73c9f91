"""`mabeam service`, in folders of the test's own; systemd itself judges the units where it is."""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

from mabeam_p2p.cli import output
from mabeam_p2p.cli.service.unit import Service, is_as_written, peer_of, quoted, text_of
from mabeam_p2p.errors import ConfigError
from mabeam_p2p.security.codes import JoinCode, encode
from mabeam_p2p.security.secrets import Secret
from mabeam_p2p.transport import hosts
from tests.cli.daemons import SECONDS, House, environment, house, mabeam
from tests.hostile.other_user import needs_root
from tests.programs import program

USER = "daemon"
NASTY = "a b%c$d\"e'f\\g;h"


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def systemd_analyze() -> str:
    return program("systemd-analyze", package="systemd", required="REQUIRE_SYSTEMD_ANALYZE")


@pytest.fixture
def program_of_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In place of an interpreter, which may stand where another user has no way: one that every
    user can run, and that finds the package."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "python"
        program.write_text("#!/bin/sh\n")
        for path in (program, program.parent):
            path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        yield program


def install(place: House, *words: str) -> click.testing.Result:
    return mabeam("service", "install", "--unit-dir", str(place.folder / "units"), *words)


def unit_of(place: House, name: str = "ant") -> Path:
    return place.folder / "units" / f"mabeam-test-{name}.service"


def lines_of(place: House, key: str) -> list[str]:
    lines = unit_of(place).read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def test_a_unit_is_written_and_its_command_pins_name_cluster_and_places(place: House) -> None:
    done = install(place, "--", "--name", "ant", "--data-dir", "data", "--seed", "127.0.0.1:1")
    assert done.exit_code == 0, done.stderr
    assert "systemctl --user enable mabeam-test-ant.service && " in done.stderr
    assert "systemctl --user start --no-block mabeam-test-ant.service" in done.stderr
    (command,) = lines_of(place, "ExecStart")
    assert shlex.split(command) == [
        *(sys.executable, "-P", "-m", "mabeam_p2p", "up", "--no-invite"),
        *("--name", "ant", "--cluster", "test"),
        *("--data-dir", str(place.folder / "data"), "--seed", "127.0.0.1:1"),
    ]
    assert lines_of(place, "Type") == ["notify"]
    assert lines_of(place, "WatchdogSec") == ["10"]
    assert unit_of(place).stat().st_mode & 0o777 == 0o644


def test_the_settings_file_of_this_folder_goes_with_the_service(place: House) -> None:
    (place.folder / "mabeam.toml").write_text("expect = 5\n")
    assert install(place, "--", "--name", "ant").exit_code == 0
    (command,) = lines_of(place, "ExecStart")
    assert shlex.split(command)[-2:] == ["--config", str(place.folder / "mabeam.toml")]


def test_flags_that_were_not_given_are_not_in_the_unit_and_given_ones_are(place: House) -> None:
    install(place, "--", "--name", "ant", "--no-mdns", "--log-format", "json", "-v")
    (command,) = lines_of(place, "ExecStart")
    words = shlex.split(command)[10:]
    assert sorted(words) == ["--log-format", "--no-mdns", "--verbose", "json"]


def test_a_user_without_a_home_is_told_what_to_set(place: House, homeless: None) -> None:
    done = mabeam("service", "install", "--", "--name", "ant")
    assert done.exit_code == 78
    assert "set HOME or XDG_CONFIG_HOME" in done.stderr
    assert install(place, "--", "--name", "ant").exit_code == 0
    units = ("--unit-dir", str(place.folder / "units"))
    assert mabeam("service", "uninstall", *units, "--", "--name", "ant").exit_code == 0


def test_settings_of_the_environment_are_named_and_left_out(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_SCORE", "73")
    for foreign in ("MABEAM_LOCK", "MABEAM_SERVICE_HOST"):
        monkeypatch.setenv(foreign, "74")
    done = install(place, "--", "--name", "ant")
    assert "they may be secret: MABEAM_SCORE\n" in done.stderr
    (command,) = lines_of(place, "ExecStart")
    assert "73" not in shlex.split(command)


@pytest.mark.parametrize("form", ["MB1-7Q4K-CODE", "@code", "-"])
@pytest.mark.parametrize("verb", ["install", "show"])
def test_a_unit_which_all_can_read_takes_no_join_code(place: House, verb: str, form: str) -> None:
    (place.folder / "code").write_text("MB1-7Q4K-CODE")
    units = ("--unit-dir", str(place.folder / "units")) if verb == "install" else ()
    done = mabeam("service", verb, *units, "--", "--name", "ant", "--join", form)
    assert done.exit_code == 78
    assert "mabeam up --join -" in done.stderr
    assert "EnvironmentFile" in done.stderr
    assert "7Q4K" not in done.stdout + done.stderr
    assert not unit_of(place).exists()


def test_a_service_prints_no_join_code_into_the_journal(place: House) -> None:
    install(place, "--", "--name", "ant", "--no-invite")
    (command,) = lines_of(place, "ExecStart")
    assert shlex.split(command).count("--no-invite") == 1


def test_a_data_folder_of_the_settings_is_pinned_to_where_it_is_here(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "mabeam.toml").write_text("data_dir = 'data'\n")
    install(place, "--", "--name", "ant")
    (command,) = lines_of(place, "ExecStart")
    words = shlex.split(command)
    assert words[words.index("--data-dir") + 1] == str(place.folder / "data")
    monkeypatch.setenv("MABEAM_DATA_DIR", "other")
    done = install(place, "--", "--name", "ant")
    (command,) = lines_of(place, "ExecStart")
    words = shlex.split(command)
    assert words[words.index("--data-dir") + 1] == str(place.folder / "other")
    assert "MABEAM_DATA_DIR" not in done.stderr


def test_a_peer_that_may_be_lucky_later_is_started_again_however_often(place: House) -> None:
    """As one whose network comes minutes after the machine: ten starts are over by then."""
    install(place, "--", "--name", "ant")
    assert lines_of(place, "StartLimitIntervalSec") == ["0"]
    assert lines_of(place, "StartLimitBurst") == []
    assert lines_of(place, "Restart") == ["on-failure"]
    (never,) = lines_of(place, "RestartPreventExitStatus")
    assert {str(output.TRY_AGAIN), str(output.FAULT)}.isdisjoint(never.split())


def test_only_what_the_peer_reads_a_tilde_in_is_written_down_with_one(place: House) -> None:
    """A data folder is taken as it is written, also by `mabeam up` here."""
    words = ("--data-dir", "~/data", "--dashboard-token", "~/token")
    for given, flags in (("", words), ("data_dir = '~/data'\n", words[2:])):
        (place.folder / "mabeam.toml").write_text(given)
        install(place, "--", "--name", "ant", *flags)
        (command,) = lines_of(place, "ExecStart")
        found = shlex.split(command)
        assert found[found.index("--data-dir") + 1] == str(place.folder / "~" / "data")
        assert found[found.index("--dashboard-token") + 1] == "~/token"


@pytest.mark.parametrize("variable", ["MABEAM_METRICS", "MABEAM_LOG_FORMAT", "MABEAM_JOIN_CODE"])
def test_what_only_the_command_line_reads_is_named_when_it_is_left_out_too(
    place: House, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    value = {"MABEAM_METRICS": "9100", "MABEAM_LOG_FORMAT": "json"}
    code = encode(JoinCode("192.0.2.1:7946", Secret(b"g" * 8), Secret(b"t" * 10), "test"))
    assert install(place, "--", "--name", "ant").exit_code == 0
    without = unit_of(place).read_text()
    monkeypatch.setenv(variable, value.get(variable, code))
    done = install(place, "--", "--name", "ant")
    assert done.exit_code == 0, done.stderr
    assert variable in done.stderr
    # Its hash may hold any four digits by luck, so they are not looked for.
    assert unit_of(place).read_text() == without


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--", "--nmae", "ant"), 2, "--nmae"),
        (("--", "--name", "no good"), 78, "name"),
        (("--system", "--", "--name", "ant"), 78, "--run-as"),
        (("--run-as", USER, "--", "--name", "ant"), 78, "--system"),
        (("--system", "--run-as", "root", "--", "--name", "ant"), 78, "root"),
        (("--system", "--run-as", "no-such-user", "--", "--name", "ant"), 78, "no-such-user"),
        (("--", "--name", "ant", "--config", "missing.toml"), 78, "missing.toml"),
        (("--", "--name", "ant", "--data-dir", "bell\a"), 78, "control character"),
        (("--", "--name", "ant", "--expect", "99"), 78, "limits.voters_max (7)"),
        (("--", "--name", "ant", "--listen", "bogus:x:y"), 78, "'bogus:x:y' is not an address"),
        (("--", "--name", "ant", "--seed", "127.0.0.1:0"), 78, "needs the port"),
        (("--", "--name", "ant", "--dashboard", "nonsense"), 78, "'nonsense' is not an address"),
        (("--", "--name", "ant", "--dashboard", "0.0.0.0:0"), 78, "--dashboard-token"),
        (("--", "--name", "ant", "--metrics", "nonsense"), 78, "'nonsense' is not an address"),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_is_written(
    place: House, words: tuple[str, ...], code: int, text: str
) -> None:
    done = install(place, *words)
    assert done.exit_code == code
    assert text in done.stderr
    assert not unit_of(place).exists()


def test_a_unit_of_a_machine_whose_network_comes_later_is_written(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "local_host", lambda remote: "127.0.0.1")
    assert install(place, "--", "--name", "ant", "--listen", "lan").exit_code == 0


@pytest.mark.parametrize("end", ["a", "a.example.org"])
def test_the_unit_of_another_peer_is_neither_replaced_nor_removed_by_force(
    place: House, end: str
) -> None:
    """Names of peers and clusters have hyphens, and so has that of the file between them."""
    units = ("--unit-dir", str(place.folder / "units"))
    first = ("--", "--cluster", "train", "--name", f"gpu-{end}")
    second = ("--", "--cluster", "train-gpu", "--name", end)
    assert install(place, *first).exit_code == 0
    path = place.folder / "units" / f"mabeam-train-gpu-{end}.service"
    before = path.read_text()
    for verb in ("install", "uninstall"):
        done = mabeam("service", verb, *units, "--force", *second)
        assert done.exit_code == 78
        assert f"is the unit of another peer, 'gpu-{end}' of cluster 'train'" in done.stderr
        assert path.read_text() == before
    path.write_text(before.replace("WatchdogSec=10", "WatchdogSec=99"))
    assert "another peer" in install(place, "--force", *second).stderr
    assert install(place, "--force", *first).exit_code == 0
    assert path.read_text() == before
    assert mabeam("service", "uninstall", *units, *first).exit_code == 0
    assert install(place, *second).exit_code == 0


def test_whose_a_unit_is_says_its_command_alone() -> None:
    command = ("/bin/python", "up", "--no-invite", "--name", "a", "--cluster", "c", "--data-dir")
    text = text_of(Service("c", "a", (*command, "/x up --no-invite --name b --cluster d")))
    assert peer_of(text) == ("c", "a")
    assert peer_of(text.partition("\n")[2]) is None


def test_a_users_unit_keeps_its_state_where_the_peer_of_this_shell_has_it(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the manager's own environment is: else it would be another peer, without a key."""
    monkeypatch.setenv("XDG_STATE_HOME", "the state%$")
    install(place, "--", "--name", "ant")
    assert lines_of(place, "Environment") == [f'"XDG_STATE_HOME={place.folder}/the state%%$"']
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/somebody")
    install(place, "--", "--name", "ant")
    assert lines_of(place, "Environment") == ["XDG_STATE_HOME=/somebody/.local/state"]


@needs_root
def test_a_unit_that_its_user_could_not_run_is_refused(
    place: House, program_of_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--system", "--run-as", USER, "--", "--name", "ant")
    program_of_all.parent.chmod(0o700)
    done = install(place, *words)
    assert done.exit_code == 78
    assert f"user '{USER}' cannot run mabeam_p2p with {program_of_all}" in done.stderr
    assert "Permission denied" in done.stderr
    program_of_all.parent.chmod(0o755)
    program_of_all.write_text("#!/bin/sh\necho 'ModuleNotFoundError: mabeam_p2p' >&2\nexit 1\n")
    assert "ModuleNotFoundError: mabeam_p2p" in install(place, *words).stderr
    assert not unit_of(place).exists()


def test_an_unchanged_unit_is_replaced_and_a_changed_one_only_by_force(place: House) -> None:
    assert install(place, "--", "--name", "ant").exit_code == 0
    assert install(place, "--", "--name", "ant", "--score", "80").exit_code == 0
    path = unit_of(place)
    path.write_text(path.read_text().replace("WatchdogSec=10", "WatchdogSec=99"))
    before = path.read_text()
    refused = install(place, "--", "--name", "ant")
    assert refused.exit_code == 78
    assert "--force" in refused.stderr
    assert "-WatchdogSec=99" in refused.stderr
    assert path.read_text() == before
    assert install(place, "--force", "--", "--name", "ant").exit_code == 0
    assert is_as_written(path.read_text())


def test_what_is_there_already_is_left_alone(place: House) -> None:
    install(place, "--", "--name", "ant")
    before = unit_of(place).stat()
    done = install(place, "--", "--name", "ant")
    assert "is as it should be" in done.stdout
    after = unit_of(place).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_uninstall_removes_what_is_unchanged_and_names_what_is_missing(place: House) -> None:
    units = ("--unit-dir", str(place.folder / "units"))
    install(place, "--", "--name", "ant")
    assert mabeam("service", "uninstall", *units, "--", "--name", "ant").exit_code == 0
    assert not unit_of(place).exists()
    again = mabeam("service", "uninstall", *units, "--", "--name", "ant")
    assert again.exit_code == 78
    assert str(unit_of(place)) in again.stderr
    unit_of(place).write_text("[Service]\nExecStart=/bin/true\n")
    kept = mabeam("service", "uninstall", *units, "--", "--name", "ant", "--expect", "99")
    assert kept.exit_code == 78
    assert "is not ours" in kept.stderr
    assert mabeam("service", "uninstall", *units, "--force", "--", "--name", "ant").exit_code == 0


@pytest.mark.parametrize("beside", [True, False])
def test_uninstall_takes_the_links_that_enable_the_unit_and_says_what_stops_it_without_a_file(
    place: House, beside: bool
) -> None:
    """`systemctl disable` of a unit without a file fails in some releases, and stops nothing."""
    install(place, "--", "--name", "ant")
    folder = unit_of(place).parent if beside else place.folder / "config" / "systemd" / "user"
    links = [folder / f"{target}.target.wants" / unit_of(place).name for target in ("a", "b")]
    other = links[0].with_name("other.service")
    for link in (*links, other):
        link.parent.mkdir(parents=True, exist_ok=True)
    links[0].symlink_to(unit_of(place))
    links[1].symlink_to(os.path.relpath(unit_of(place), links[1].parent))
    other.symlink_to("/nowhere/other.service")
    strange = folder / "c.target.wants" / unit_of(place).name
    strange.parent.mkdir()
    another = place.folder / "another.service"
    another.write_text("[Service]\n")
    strange.symlink_to(another)
    units = ("--unit-dir", str(place.folder / "units"))
    done = mabeam("service", "uninstall", *units, "--", "--name", "ant")
    assert done.exit_code == 0, done.stderr
    assert not any(link.is_symlink() for link in links)
    assert other.is_symlink()
    assert strange.is_symlink(), "it leads to another unit"
    name = unit_of(place).name
    assert f"systemctl --user stop {name}; systemctl --user daemon-reload\n" in done.stderr
    assert "disable" not in done.stderr


def test_show_prints_what_install_would_write_and_writes_nothing(place: House) -> None:
    shown = mabeam("service", "show", "--", "--name", "ant")
    assert shown.exit_code == 0
    assert not list(place.folder.rglob("*.service"))
    install(place, "--", "--name", "ant")
    assert shown.stdout == unit_of(place).read_text()


def test_a_unit_of_the_system_runs_as_its_user_with_folders_of_systemds_making(
    place: House, program_of_all: Path
) -> None:
    words = ("--system", "--run-as", USER, "--", "--name", "ant", "--data-dir", "x y$")
    done = install(place, *words)
    assert done.exit_code == 0, done.stderr
    assert lines_of(place, "User") == [USER]
    assert lines_of(place, "StateDirectory") == [f"mabeam/{USER}"]
    assert lines_of(place, "ReadWritePaths") == [f'"-{place.folder}/x y$"']
    make = f"install -d -m 0700 -o {USER} '{place.folder}/x y$'"
    assert make in done.stderr
    (place.folder / "x y$").mkdir()
    assert make not in install(place, *words).stderr
    assert lines_of(place, "ProtectSystem") == ["strict"]
    assert f"its clients run as {USER}, and find it in /run/mabeam/{USER}" in done.stderr


def test_words_that_systemd_would_read_otherwise_are_escaped() -> None:
    assert quoted("plain-1.2:3") == "plain-1.2:3"
    assert quoted("") == '""'
    assert quoted("50%") == "50%%"
    assert quoted('a b$c"d\\e\n') == '"a b$$c\\"d\\\\e\\n"'
    with pytest.raises(ConfigError, match="control character"):
        quoted("\x07")
    with pytest.raises(ConfigError, match="absolute"):
        text_of(Service("c", "n", ("python",)))


@pytest.mark.parametrize("scope", ["user", "system"])
def test_systemd_itself_finds_nothing_wrong_with_the_units(
    place: House, program_of_all: Path, scope: str
) -> None:
    analyze = systemd_analyze()
    words = ("--system", "--run-as", USER) if scope == "system" else ()
    done = install(place, *words, "--", "--name", "ant", "--data-dir", f"/srv/{NASTY}")
    assert done.exit_code == 0, done.stderr
    checked = subprocess.run(
        [analyze, f"--{scope}", "verify", str(unit_of(place))], capture_output=True, text=True
    )
    assert unit_of(place).name not in checked.stderr


def test_a_unit_that_systemd_would_not_take_is_not_written(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd_analyze()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = install(place, "--", "--name", "ant")
    assert done.exit_code == 78
    assert "/nowhere/python" in done.stderr
    assert not unit_of(place).exists()


@pytest.mark.slow
def test_the_command_of_a_unit_starts_a_daemon_that_tells_its_manager(place: House) -> None:
    data = place.folder / NASTY.replace("/", "")
    install(place, "--", "--name", "ant", "--expect", "1", "--no-mdns", "--data-dir", str(data))
    (command,) = lines_of(place, "ExecStart")
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = str(place.folder / "notify")
        manager.bind(address)
        manager.settimeout(SECONDS)
        told: list[str] = []

        def hear(text: str) -> None:
            deadline = time.monotonic() + SECONDS
            while not told or not told[-1].startswith(text):
                assert time.monotonic() < deadline, told
                told.append(manager.recv(4_096).decode())

        told_where = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}
        # Seldom: whoever does not listen for a second has all that is told, and one of it is READY.
        process = subprocess.Popen(
            words, env=environment() | told_where, cwd="/", stdout=subprocess.DEVNULL
        )
        try:
            hear("READY=1")
            hear("WATCHDOG=1")
            assert data.is_dir()
            process.terminate()
            hear("STOPPING=1")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()
    assert any(line.startswith("STATUS=ant listens on 127.0.0.1:") for line in told)
    assert "STATUS=ant leads in term 1" in told or "STATUS=ant leads in term 2" in told


def test_a_folder_that_cannot_be_made_is_named(place: House) -> None:
    (place.folder / "units").write_text("a file")
    folder = place.folder / "units" / "deeper"
    done = mabeam("service", "install", "--unit-dir", str(folder), "--", "--name", "ant")
    assert done.exit_code == 78
    assert str(folder / unit_of(place).name) in done.stderr
