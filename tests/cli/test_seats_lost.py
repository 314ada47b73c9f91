"""What becomes of a seat, and of the command that runs under it, when a daemon dies."""

import pytest

from tests.cli.daemons import house, mabeam, told, until
from tests.cli.test_seats import STAYS, leading, stands

pytestmark = pytest.mark.slow


def test_a_command_whose_daemon_is_killed_is_ended_and_the_next_one_begins_elsewhere() -> None:
    with house() as place:
        ant, *_ = place.started("ant", "bee", "cow")
        with leading("backup", "--addr", "ant", "--as", "one", *STAYS) as one:
            first = one.seat()
            assert one.line() == f"began backup {first['token']}"
            with leading("backup", "--addr", "bee", "--as", "two", *STAYS) as two:
                until(lambda: stands(["one@ant", "two@bee"]))
                ant.process.kill()
                assert one.line() == "ended"
                assert "quorum" in str(one.seat()["lost"])
                assert one.wait() == 1
                second = two.seat()
                assert int(str(second["token"])) > int(str(first["token"]))
                assert two.line() == f"began backup {second['token']}"
                # It may not have heard of it yet.
                until(
                    lambda: told("leader", "backup", "--addr", "cow")["holder"] == "two@bee",
                    AssertionError,
                )
    assert mabeam("leader", "backup").exit_code == 69
