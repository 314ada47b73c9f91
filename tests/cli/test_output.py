import errno

import click
import click.testing
import msgspec
import pytest

import mabeam_p2p
from mabeam_p2p import errors
from mabeam_p2p.cli import main, output, target


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Rejected("x"), 1),
        (errors.UnknownProposal("x"), 1),
        (errors.NameTaken("x"), 1),
        (errors.PeerRefused("x", reason="name"), 1),
        (errors.DataFolderHeld("x"), 1),
        (errors.InvalidValue("x"), 2),
        (errors.DaemonNotRunning("x"), 69),
        (errors.Closed("x"), 69),
        (errors.NoQuorum("x"), 75),
        (errors.OutcomeUnknown("x"), 75),
        (errors.Overloaded("x"), 75),
        (errors.BarrierBroken("x", reason="timeout"), 75),
        (errors.AckTimeout("x"), 75),
        (errors.ConfigError("x"), 78),
        (errors.InvalidName("x"), 78),
        (errors.NoRoute("x"), 75),
        (errors.AddressError("x"), 78),
        (errors.AddressError("x", is_passing=True), 75),
        (errors.LogCorrupt("x"), 78),
        (errors.StorageError("x"), 78),
        (errors.StorageError("x", is_full=True), 75),
        (errors.KeyFileError("x", is_full=True), 75),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_kind_of_failure_decides_the_exit_code(error: errors.MabeamError, code: int) -> None:
    assert output.exit_code(error) == code


def test_failure_is_one_message_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, output.endings():
        raise errors.NoQuorum("two of five peers are alive")
    assert end.value.code == 75
    assert capsys.readouterr().err == "error: two of five peers are alive\n"


def test_failure_among_several_tasks_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, output.endings():
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [errors.Closed("it has gone")])])
    assert end.value.code == 69
    assert "it has gone" in capsys.readouterr().err


def test_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), output.endings():
        raise ZeroDivisionError
    with pytest.raises(ExceptionGroup), output.endings():
        raise ExceptionGroup("tasks", [ZeroDivisionError()])


@pytest.mark.parametrize("name", sorted(main.commands))
def test_what_nobody_foresaw_is_told_as_our_fault_by_each_verb(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with a code that is not among those at which a unit stays down."""

    def broken(**_: object) -> None:
        raise AssertionError("a core has caught itself wrong")

    verb = click.Command(name, callback=broken)
    monkeypatch.setitem(main.commands, name, verb)
    done = click.testing.CliRunner().invoke(main, [name])
    assert (done.exit_code, done.stdout) == (output.FAULT, "")
    *trace, last = done.stderr.splitlines()
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "AssertionError: a core has caught itself wrong"
    assert f"a fault of mabeam {mabeam_p2p.__version__}" in last


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (click.UsageError("x"), 2),
        (click.exceptions.Exit(7), 7),
        (click.Abort(), 1),
        (SystemExit(75), 75),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_end_of_the_libraries_is_no_fault(
    ending: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(**_: object) -> None:
        raise ending

    monkeypatch.setitem(main.commands, "version", click.Command("version", callback=ends))
    done = click.testing.CliRunner().invoke(main, ["version"])
    assert done.exit_code == code
    assert "Traceback" not in done.stderr


def test_interruption_ends_with_130() -> None:
    with pytest.raises(SystemExit) as end, output.endings():
        raise KeyboardInterrupt
    assert end.value.code == 130


def test_table_has_columns_as_wide_as_their_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME", "AGENTS"), [("ant", ("a", "b")), ("elephant", ())])
    assert capsys.readouterr().out == "NAME      AGENTS\nant       a, b\nelephant  -\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ((), "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.003125, "0.003125"),
        (1234567.0, "1234567.0"),
        ("x", "x"),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_cell_shows_a_value_as_a_person_reads_it(value: object, text: str) -> None:
    assert output.cell(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (400_000, "400.0 kB"),
        (67_108_864, "67.1 MB"),
        (79_153_041_408, "79.2 GB"),
        (1_200_000_000_000, "1,200.0 GB"),
    ],
)
def test_size_is_in_the_unit_that_a_person_would_take(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.003", 0.003),
        ("128", 128),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ('"text"', "text"),
        ("adam", "adam"),
        ("1e", "1e"),
        ("NaN", "NaN"),
        ("", ""),
    ],
)
def test_argument_is_json_or_else_text(text: str, value: object) -> None:
    assert target.value(text) == value


@pytest.mark.parametrize("value", ["text", 0.5, {"a": [1, None]}, "0.5x"])
def test_value_that_is_printed_can_be_given_again(value: object) -> None:
    assert target.value(output.plain(value)) == value


def test_name_with_unprintable_signs_is_used_wrongly() -> None:
    assert target.key("model/lr") == "model/lr"
    with pytest.raises(click.BadParameter):
        target.key("a\nb")


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.json_line({"a": 1, "b": "ä\n"})
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert msgspec.json.decode(text) == {"a": 1, "b": "ä\n"}
