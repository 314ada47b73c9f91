"""Guards: whoever comes with an older token changes nothing."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mabeam_p2p import Guard, InvalidValue, MabeamTimeout, StaleToken, StorageError
from mabeam_p2p.api.guards import LOCK_SUFFIX, TOKEN_SUFFIX
from tests.cli.daemons import environment

# ---- files -----------------------------------------------------------------------------------


def test_a_file_takes_growing_tokens_and_refuses_older_ones_naming_both(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    guard = Guard.file(path)
    guard.write(b"one", 5)
    guard.write(b"again", 5)
    guard.write("two", 9)
    with pytest.raises(StaleToken, match=r"refuses token 5: token 9 was seen") as stale:
        guard.write(b"old", 5)
    assert (stale.value.token, stale.value.highest, stale.value.reason) == (5, 9, "stale_token")
    assert path.read_bytes() == b"two"
    assert guard.highest() == 9


def test_checking_alone_shuts_older_tokens_out(tmp_path: Path) -> None:
    guard = Guard.file(tmp_path / "x")
    assert guard.highest() == 0
    guard.check(3)
    with pytest.raises(StaleToken):
        guard.check(2)
    assert not (tmp_path / "x").exists()


def test_another_guard_of_the_same_file_by_another_name_knows_the_token(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "x")
    Guard.file(tmp_path / "x").check(7)
    with pytest.raises(StaleToken):
        Guard.file(tmp_path / "link").write(b"old", 6)


def test_the_token_stands_on_the_disk_before_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    guard = Guard.file(path)
    guard.write(b"old", 1)
    with guard.writing(2):
        # Whatever ends the writer from here on, the token stays.
        assert (tmp_path / f"x{TOKEN_SUFFIX}").read_bytes() == b"2\n"
    assert path.read_bytes() == b"old"
    with pytest.raises(StaleToken):
        guard.write(b"older", 1)


def test_a_replaced_file_keeps_its_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    path.chmod(0o640)
    Guard.file(path).write(b"new", 1)
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["x", f"x{LOCK_SUFFIX}", f"x{TOKEN_SUFFIX}"]


def test_what_a_writer_left_when_it_was_killed_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    (tmp_path / "x.new").write_bytes(b"half of a much longer content")
    (tmp_path / f"x{TOKEN_SUFFIX}.new").write_bytes(b"99999999")
    guard = Guard.file(path)
    guard.write(b"new", 4)
    assert (path.read_bytes(), guard.highest()) == (b"new", 4)


def test_writers_of_other_processes_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x"
    code = f"""
from mabeam_p2p import Guard
with Guard.file({str(path)!r}).writing(3):
    print("in", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(MabeamTimeout, match="has not finished"):
            Guard.file(path, timeout=0.05).write(b"x", 4)
        other.communicate(b"\n")
    Guard.file(path).write(b"x", 4)
    with pytest.raises(StaleToken):
        Guard.file(path).check(3)


@pytest.mark.parametrize("content", [b"", b"x\n", b"12", b"-4\n", b"1" * 20 + b"\n"])
def test_a_token_that_something_else_has_spoilt_is_named_and_kept(
    tmp_path: Path, content: bytes
) -> None:
    sidecar = tmp_path / f"x{TOKEN_SUFFIX}"
    sidecar.write_bytes(content)
    with pytest.raises(StorageError, match="holds no token") as spoilt:
        Guard.file(tmp_path / "x").write(b"new", 4)
    assert spoilt.value.path == str(sidecar)
    assert sidecar.read_bytes() == content
    assert not (tmp_path / "x").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        Guard.file(tmp_path / "missing" / "x").check(1)


@pytest.mark.parametrize("token", [0, -1, 2**53, 1.5, True, None, "7"])
def test_what_is_no_token_is_refused(tmp_path: Path, token: object) -> None:
    with pytest.raises(InvalidValue, match=r"lease\.token"):
        Guard.file(tmp_path / "x").check(token)  # type: ignore[arg-type]


# ---- tables ----------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "x.db", timeout=0.1)) as connection:
        with connection:
            connection.execute("CREATE TABLE best (score REAL)")
            Guard.sqlite(connection, "tokens").create()
        yield connection


def scores(connection: sqlite3.Connection) -> list[float]:
    return [row[0] for row in connection.execute("SELECT score FROM best")]


def test_a_transaction_with_an_older_token_changes_nothing(table: sqlite3.Connection) -> None:
    guard = Guard.sqlite(table, "tokens", "best")
    with table:
        guard.check(5)
        table.execute("INSERT INTO best VALUES (0.5)")
    with table:
        guard.check(8)
    table.execute("INSERT INTO best VALUES (0.9)")
    with pytest.raises(StaleToken, match=r"refuses token 5: token 8 was seen") as stale, table:
        guard.check(5)
    assert (stale.value.token, stale.value.highest) == (5, 8)
    assert scores(table) == [0.5]
    with table:
        guard.check(8)
        table.execute("INSERT INTO best VALUES (0.7)")
    assert scores(table) == [0.5, 0.7]


def test_a_transaction_that_is_rolled_back_has_shown_no_token(table: sqlite3.Connection) -> None:
    guard = Guard.sqlite(table, "tokens")
    guard.check(9)
    table.rollback()
    assert guard.highest() == 0
    with table:
        guard.check(3)


def test_resources_of_one_table_have_tokens_of_their_own(table: sqlite3.Connection) -> None:
    with table:
        Guard.sqlite(table, "tokens", "a").check(9)
        Guard.sqlite(table, "tokens", "b").check(3)
    assert Guard.sqlite(table, "tokens", "a").highest() == 9
    assert Guard.sqlite(table, "tokens", "b").highest() == 3


def test_outside_a_transaction_nothing_is_guarded_and_that_is_said(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        guard = Guard.sqlite(connection, "tokens")
        guard.create()
        with pytest.raises(InvalidValue, match="BEGIN"):
            guard.check(4)
        assert guard.highest() == 0
        connection.execute("BEGIN")
        guard.check(4)
        connection.execute("COMMIT")
        assert guard.highest() == 4


def test_of_two_connections_the_second_waits_for_the_first_transaction(
    table: sqlite3.Connection, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", timeout=0.05)) as other:
        Guard.sqlite(table, "tokens").check(5)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Guard.sqlite(other, "tokens").check(4)
        table.commit()
        other.rollback()
        with pytest.raises(StaleToken):
            Guard.sqlite(other, "tokens").check(4)


def test_a_driver_with_another_placeholder_is_spoken_to_in_its_own_way() -> None:
    said: list[tuple[str, tuple[object, ...]]] = []

    class Cursor:
        rowcount = 1

        def execute(self, operation: str, parameters: tuple[object, ...]) -> None:
            said.append((operation, parameters))

        def fetchone(self) -> None:
            return None

        def close(self) -> None:
            pass

    class Connection:
        def cursor(self) -> Cursor:
            return Cursor()

    guard = Guard.sql(Connection(), "app.tokens", "best")
    guard.check(4)
    assert said == [
        (
            "UPDATE app.tokens SET token = %s WHERE resource = %s AND token <= %s",
            (4, "best", 4),
        )
    ]
    assert guard.highest() == 0


def test_names_that_could_be_more_than_names_are_refused(table: sqlite3.Connection) -> None:
    for name in ("", "tokens; DROP TABLE best", "a.b.c", "1x", 'x"'):
        with pytest.raises(InvalidValue, match="table"):
            Guard.sqlite(table, name)
    with pytest.raises(InvalidValue, match="placeholder"):
        Guard.sql(table, "tokens", placeholder=":1")
