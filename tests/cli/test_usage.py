import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from mabeam_p2p.api.settings import load
from mabeam_p2p.cli import main
from mabeam_p2p.cli.budgets import ledger
from tests.cli.daemons import CLUSTER, House, environment, house, mabeam, told

AT_A_DAEMON = (
    "down",
    "members",
    "status",
    "info",
    "leader",
    "transfer",
    "score",
    "elect",
    "lead",
    "propose",
    "vote",
    "proposals",
    "explain",
    "get",
    "set",
    "watch",
    "barrier",
    "lock",
    "counter",
    "log",
    "monitor",
    "events",
)
VERBS = (
    *AT_A_DAEMON,
    "queue",
    "up",
    "config",
    "completion",
    "version",
    "demo",
    "ledger",
    "auction",
    "tasks",
    "voters",
    "why",
    "keys",
    "doctor",
    "dump",
    "repair",
    "service",
)


@pytest.fixture(scope="module", autouse=True)
def place() -> Iterator[House]:
    with house() as place:
        yield place


def test_every_verb_is_there() -> None:
    assert sorted(main.commands) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_what_each_flag_is_for(verb: str) -> None:
    result = mabeam(verb, "--help")
    assert result.exit_code == 0
    command = main.commands[verb]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("verb", AT_A_DAEMON)
def test_every_verb_of_a_daemon_takes_the_common_flags(verb: str) -> None:
    flags = {flag for parameter in main.commands[verb].params for flag in parameter.opts}
    assert {"--json", "--cluster", "--addr", "--timeout"} <= flags


@pytest.mark.parametrize("verb", ledger.commands)
def test_every_verb_of_the_ledger_says_what_it_does_and_takes_the_common_flags(verb: str) -> None:
    result = mabeam("ledger", verb, "--help")
    assert result.exit_code == 0
    command = ledger.commands[verb]
    assert command.help
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []
    flags = {flag for option in options for flag in option.opts}
    assert {"--json", "--cluster", "--addr", "--timeout"} <= flags


@pytest.mark.parametrize(
    "arguments",
    [
        ("members",),
        ("status", "--json"),
        ("propose", "rate", "1"),
        ("get", "rate"),
        ("barrier", "gate", "--parties", "2"),
        ("elect", "keeper"),
        ("lead", "keeper", "--", "true"),
        ("leader", "keeper"),
        ("events",),
        ("down",),
    ],
    ids=" ".join,
)
def test_without_a_daemon_a_verb_says_how_to_start_one(arguments: tuple[str, ...]) -> None:
    result = mabeam(*arguments)
    assert result.exit_code == 69
    assert "mabeam up" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("get",),
        ("get", "a\nb"),
        ("vote", "id", "maybe"),
        ("vote", "id", "accept", "--confidence", "2"),
        ("barrier", "gate"),
        ("barrier", "gate", "--parties", "0"),
        ("set", "a", "1", "--wait", "some"),
        ("status", "--timeout", "0"),
        ("up", "--expect", "many"),
        ("barrier", "gate", "--parties", "2", "--as", "no name"),
        ("propose", "rate", "1", "--group", "no name"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_is_told_on_stderr(arguments: tuple[str, ...]) -> None:
    result = mabeam(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert result.stdout == ""


def test_every_verb_of_tasks_takes_the_common_flags() -> None:
    group = main.commands["tasks"]
    assert isinstance(group, click.Group)
    for verb in group.commands.values():
        flags = {flag for parameter in verb.params for flag in parameter.opts}
        assert {"--json", "--cluster", "--addr", "--timeout"} <= flags


def test_help_shows_every_verb_once_in_its_family() -> None:
    text = mabeam("--help").stdout.partition("Options:")[2]
    sections = re.split(r"^(\w.*):$", text, flags=re.MULTILINE)[1:]
    shown = {
        family: re.findall(r"^  ([a-z]+)  ", verbs, re.MULTILINE)
        for family, verbs in zip(sections[::2], sections[1::2], strict=True)
    }
    assert shown["Lead"] == ["leader", "transfer", "score", "elect", "lead"]
    assert shown["Work and trade"] == ["tasks", "auction", "ledger"]
    assert sorted(verb for verbs in shown.values() for verb in verbs) == sorted(VERBS)


def test_list_of_verbs_cuts_no_sentence() -> None:
    assert "..." not in mabeam("--help").stdout.partition("Options:")[2]
    assert "..." not in mabeam("config", "--help").stdout.partition("Commands:")[2]


def test_daemon_that_is_missing_by_name_is_to_be_started_by_that_name() -> None:
    result = mabeam("members", "--addr", "bee")
    assert result.exit_code == 69
    assert "'bee'" in result.stderr
    assert f"mabeam up --name bee --cluster {CLUSTER}" in result.stderr


def test_socket_that_is_missing_is_named_with_the_reason_in_words(place: House) -> None:
    path = str(place.folder / "no.sock")
    result = mabeam("members", "--addr", path)
    assert result.exit_code == 69
    assert f"{path}: No such file or directory" in result.stderr


def test_version_is_that_of_the_package() -> None:
    assert mabeam("version").stdout.startswith("mabeam ")
    assert mabeam("--version").stdout.startswith("mabeam ")
    assert set(told("version")) >= {"version", "protocol"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    assert "_MABEAM_COMPLETE" in mabeam("completion", shell).stdout


def test_settings_are_shown_with_their_origin(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_TIMING__HEARTBEAT_SECONDS", "0.05")
    file = place.folder / "other.toml"
    file.write_text("expect = 5\n")
    rows = told("config", "show", "--config", str(file))["settings"]
    assert isinstance(rows, list)
    shown = {row["key"]: (row["value"], row["origin"]) for row in rows}
    assert shown["expect"] == (5, str(file))
    assert shown["timing.heartbeat_seconds"][0] == 0.05
    assert "MABEAM_TIMING__HEARTBEAT_SECONDS" in shown["timing.heartbeat_seconds"][1]
    assert shown["mdns"] == (True, "built-in")
    assert len(shown) == len(load(file=file).all)
    assert "built-in" in mabeam("config", "show", "--origin").stdout


def test_unknown_setting_ends_with_78_and_the_nearest_name(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_EXPEC", "5")
    result = mabeam("config", "show")
    assert result.exit_code == 78
    assert "'MABEAM_EXPECT'" in result.stderr


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        runner = click.testing.CliRunner()
        return runner.invoke(main, ["config", "show"], color=True).stdout

    assert "\x1b[" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in shown()


@pytest.mark.parametrize(
    "words", [("up",), ("service", "show", "--"), ("service", "install", "--")]
)
def test_a_join_code_with_spaces_is_to_be_quoted_and_is_not_repeated(
    words: tuple[str, ...],
) -> None:
    for code in (("--join", "MB1", "7Q4K", "9XYZ"), ("MB1-7Q4K-9XYZ",)):
        done = mabeam(*words, "--name", "ant", *code)
        assert done.exit_code == 2
        assert "put all of it into quotes: --join 'MB1 ...'" in done.stderr
        assert "7Q4K" not in done.stdout + done.stderr
        assert "9XYZ" not in done.stdout + done.stderr


def test_what_is_imported_for_a_command_is_not_looked_through_for_garbage() -> None:
    program = (
        "import atexit, gc, sys\n"
        "from mabeam_p2p.__main__ import run\n"
        "frozen = []\n"
        "gc.callbacks.append(lambda phase, told: frozen.append(gc.get_freeze_count()))\n"
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))\n"
        "atexit.register(lambda: print(all(frozen)))\n"
        "sys.argv = ['mabeam', 'version']\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment()
    )
    assert done.stdout.splitlines()[-2:] == ["True", "True True"], done
