"""What becomes of a test whose program is not installed."""

import sys
from pathlib import Path

import pytest

from tests.programs import program

REQUIRED = "REQUIRE_A_PROGRAM_OF_THE_TEST"


def test_a_missing_program_skips_its_test_unless_it_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"no one or two, .* package three"):
        program("one", "two", package="three", required=REQUIRED)
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=rf"\${REQUIRED} is set, and there is no one"):
        program("one", "two", package="three", required=REQUIRED)
    (tmp_path / "two").symlink_to(sys.executable)
    found = program("one", "two", package="three", required=REQUIRED)
    assert found == str(tmp_path / "two")
