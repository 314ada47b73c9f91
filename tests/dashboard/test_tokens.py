import os
from pathlib import Path

import pytest

from mabeam_p2p.dashboard.tokens import read_token
from mabeam_p2p.errors import ConfigError

GOOD = "correct-horse-battery"


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_token_is_read(tmp_path: Path) -> None:
    assert read_token(written(tmp_path / "token", f"{GOOD}\n")) == GOOD


def test_a_missing_file_gets_a_new_token_that_its_user_alone_can_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = read_token(str(path))
    assert len(first) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(str(path)) == first
    assert read_token(str(tmp_path / "other")) != first


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(written(tmp_path / "token", GOOD, mode))


@pytest.mark.parametrize(
    "text", ["", "short", "two words are no token", "x" * 2_000, "é" * 20], ids=repr
)
def test_a_token_that_is_no_good_word_is_refused_and_not_repeated(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_token(written(tmp_path / "token", text))
    assert caught.value.key == "dashboard_token"
    assert not text or text not in str(caught.value)


def test_a_link_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "real", GOOD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="dashboard_token"):
        read_token(str(tmp_path / "link"))


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="no plain file"):
        read_token(str(tmp_path / "pipe"))
    with pytest.raises(ConfigError, match="dashboard_token"):
        read_token(str(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "token", GOOD)
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigError, match="another user"):
        read_token(path)
