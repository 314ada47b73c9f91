import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mabeam_p2p.dashboard import neighbours
from mabeam_p2p.dashboard.neighbours import NOBODY, TABLES, Name, in_tables, is_able, user_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINE = "   0: {} {} 01 00000000:00000000 00:00000000 00000000 {} 0 1 1\n"

linux = pytest.mark.skipif(not TABLES[0].exists(), reason="the kernel tells it on Linux alone")


able = pytest.mark.skipif(not is_able(), reason="this kernel has tables of connections alone")

Asked = Callable[[Name, Name], int | None]


@linux
@pytest.mark.parametrize("asked", [user_of, in_tables])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_names_the_user_at_the_other_end(host: str, asked: Asked) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]) as client:
            source, target = client.getsockname()[:2], client.getpeername()[:2]
            assert asked(source, target) == os.getuid()
            # What is bound to the same port and connected elsewhere is another connection.
            assert asked(source, (host, 1)) == NOBODY


@linux
@able
def test_a_client_that_has_gone_is_not_taken_for_who_listens_at_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert user_of(listener.getsockname(), ("127.0.0.1", 1)) == NOBODY


@linux
@able
def test_an_ipv4_client_through_a_socket_of_ipv6_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET6) as client,
    ):
        try:
            client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        except OSError:
            pytest.skip("no IPv6 here")
        served, source = listener.accept()
        with served:
            assert user_of(source, listener.getsockname()) == os.getuid()


@linux
@able
def test_what_it_costs_does_not_grow_with_the_connections_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "in_tables", lambda source, target: 1 / 0)
    assert user_of(("127.0.0.1", 1), ("127.0.0.1", 2)) == NOBODY


@linux
def test_a_kernel_that_cannot_be_asked_has_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "is_able", lambda: False)
    monkeypatch.setattr(neighbours, "in_tables", lambda source, target: 1001)
    assert user_of(("127.0.0.1", 1), ("127.0.0.1", 2)) == 1001


def test_the_line_of_the_client_counts_and_not_the_servers(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    mine, theirs = "0100007F:1F90", "0100007F:C350"
    table.write_text(HEAD + LINE.format(mine, theirs, 7) + LINE.format(theirs, mine, 1001))
    source, target = ("127.0.0.1", 0xC350), ("127.0.0.1", 0x1F90)
    assert in_tables(source, target, [table]) == 1001


def test_an_ipv4_client_of_an_ipv6_socket_is_found(tmp_path: Path) -> None:
    table = tmp_path / "tcp6"
    prefix = "0000000000000000FFFF0000"
    line = LINE.format(f"{prefix}0100007F:C350", f"{prefix}0100007F:1F90", 1001)
    table.write_text(HEAD + line)
    assert in_tables(("127.0.0.1", 0xC350), ("127.0.0.1", 0x1F90), [table]) == 1001


def test_a_connection_in_no_table_is_nobodys(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD)
    assert in_tables(("127.0.0.1", 1), ("127.0.0.1", 2), [table]) == NOBODY


def test_a_system_without_tables_tells_nothing(tmp_path: Path) -> None:
    assert in_tables(("127.0.0.1", 1), ("127.0.0.1", 2), [tmp_path / "none"]) is None
