import asyncio
import os
from pathlib import Path

import pytest

from mabeam_p2p import assembly, places
from mabeam_p2p.api import settings, sockets
from mabeam_p2p.config import Config
from mabeam_p2p.dashboard.tokens import read_token
from mabeam_p2p.errors import ConfigError


def test_folders_are_where_the_user_says_or_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("HOME", "/somebody")
    assert places.state_folder() == Path("/state/mabeam")
    assert places.config_folder({"XDG_CONFIG_HOME": "/config"}) == Path("/config")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert places.state_folder() == Path("/somebody/.local/state/mabeam")
    assert places.config_folder({}) == Path("/somebody/.config")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_there_are_no_folders_in_it() -> None:
    assert places.state_folder() is None
    assert places.config_folder({}) is None


@pytest.mark.usefixtures("homeless")
def test_what_is_one_of_several_places_to_look_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert settings.load({"name": "ant"}, environment={}).config.name == "ant"
    assert [str(root) for root in sockets.roots()] == [f"/tmp/mabeam-{os.getuid()}"]
    assert sockets.candidates("default", "no-such-daemon") == ()


@pytest.mark.usefixtures("homeless")
def test_what_has_no_other_place_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"set HOME or XDG_STATE_HOME.*--data-dir"):
        assembly.data_folder(Config(name="ant"))
    with pytest.raises(ConfigError, match="set HOME"):
        read_token("~/token")


@pytest.mark.usefixtures("homeless")
def test_a_peer_with_a_folder_of_its_own_needs_no_home(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        config = Config(name="ant", data_dir=str(tmp_path / "data"), mdns=False)
        await assembly.build(config).close()

    asyncio.run(story())
    assert "join code" in caplog.text
