import logging
import os
import stat
from pathlib import Path

import pytest

from mabeam_p2p.security.kept_port import PORT_NAME, keep_port, kept_port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "peer"
    folder.mkdir(mode=0o700)
    return folder


def test_the_last_port_is_kept_and_the_file_is_this_users_alone(folder: Path) -> None:
    assert kept_port(folder) == 0
    for port in (1, 65_535, 7_946):
        keep_port(folder, port)
        assert kept_port(folder) == port
    assert [one.name for one in folder.iterdir()] == [PORT_NAME]
    assert stat.S_IMODE((folder / PORT_NAME).stat().st_mode) == 0o600


def test_a_peer_without_a_folder_keeps_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    keep_port(None, 7_946)
    assert kept_port(None) == 0
    assert [*folder.iterdir()] == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    "text",
    ["", "{", "\0", "7946", '{"port":0}', '{"port":65536}', '{"port":"7946"}', '{"port":7946.5}',
     '{"port":true}', "{}"],
)  # fmt: skip
def test_a_damaged_file_is_told_of_left_aside_and_written_anew(
    folder: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    keep_port(folder, 7_946)
    (folder / PORT_NAME).write_text(text)
    assert kept_port(folder) == 0
    [told] = caplog.records
    assert told.levelno == logging.WARNING
    assert str(folder / PORT_NAME) in told.getMessage()
    keep_port(folder, 7_949)
    assert kept_port(folder) == 7_949
    assert len(caplog.records) == 1


def test_a_file_that_others_can_write_decides_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep_port(folder, 7_946)
    (folder / PORT_NAME).chmod(0o666)
    assert kept_port(folder) == 0
    assert "others" in caplog.text
    keep_port(folder, 7_946)
    assert stat.S_IMODE((folder / PORT_NAME).stat().st_mode) == 0o600
    os.rename(folder / PORT_NAME, folder / "moved")
    (folder / PORT_NAME).symlink_to(folder / "moved")
    assert kept_port(folder) == 0


def test_what_cannot_be_written_is_told_and_stops_nobody(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / PORT_NAME).mkdir()
    keep_port(folder, 7_946)
    [told] = caplog.records
    assert told.levelno == logging.WARNING
    assert "At its next start" in told.getMessage()
    assert kept_port(folder) == 0
    assert [one.name for one in folder.iterdir()] == [PORT_NAME]
