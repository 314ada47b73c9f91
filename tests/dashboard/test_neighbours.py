import os
import socket
from pathlib import Path

import pytest

from mabeam_p2p.dashboard.neighbours import NOBODY, TABLES, user_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINE = "   0: {} {} 01 00000000:00000000 00:00000000 00000000 {} 0 1 1\n"

linux = pytest.mark.skipif(not TABLES[0].exists(), reason="the kernel tells it on Linux alone")


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_names_the_user_at_the_other_end(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]) as client:
            source, target = client.getsockname()[:2], client.getpeername()[:2]
            assert user_of(source, target) == os.getuid()
            # What is bound to the same port and connected elsewhere is another connection.
            assert user_of(source, (host, 1)) == NOBODY


def test_the_line_of_the_client_counts_and_not_the_servers(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    mine, theirs = "0100007F:1F90", "0100007F:C350"
    table.write_text(HEAD + LINE.format(mine, theirs, 7) + LINE.format(theirs, mine, 1001))
    source, target = ("127.0.0.1", 0xC350), ("127.0.0.1", 0x1F90)
    assert user_of(source, target, [table]) == 1001


def test_an_ipv4_client_of_an_ipv6_socket_is_found(tmp_path: Path) -> None:
    table = tmp_path / "tcp6"
    prefix = "0000000000000000FFFF0000"
    line = LINE.format(f"{prefix}0100007F:C350", f"{prefix}0100007F:1F90", 1001)
    table.write_text(HEAD + line)
    assert user_of(("127.0.0.1", 0xC350), ("127.0.0.1", 0x1F90), [table]) == 1001


def test_a_connection_in_no_table_is_nobodys(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD)
    assert user_of(("127.0.0.1", 1), ("127.0.0.1", 2), [table]) == NOBODY


def test_a_system_without_tables_tells_nothing(tmp_path: Path) -> None:
    assert user_of(("127.0.0.1", 1), ("127.0.0.1", 2), [tmp_path / "none"]) is None
