"""A daemon in this process, whose start fails half-way."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from mabeam_p2p import assembly
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.keys import invited
from mabeam_p2p.cli.up import wait_of
from mabeam_p2p.config import Config
from mabeam_p2p.daemon.host import Host
from mabeam_p2p.errors import Closed, StorageError
from mabeam_p2p.key_requests import INVITE_SECONDS
from mabeam_p2p.records import Status
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.security import keyring as keyring_module
from mabeam_p2p.security.codes import JoinCode, decode, encode
from mabeam_p2p.security.secrets import Secret
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.cli.daemons import CLUSTER, House, house
from tests.eventually import eventually
from tests.in_loop import in_loop

CONFIG = Config(name="ant", cluster=CLUSTER, mdns=False, expect=1)


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def sockets(place: House) -> list[str]:
    return [str(path) for path in (place.folder / "run").rglob("*") if path.is_socket()]


@in_loop
async def test_a_start_that_fails_half_way_leaves_nothing_behind(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(tie: Attachment) -> Status:
        raise Closed("peer ant has been closed")

    with monkeypatch.context() as patch:
        patch.setattr(Attachment, "status", fails)
        with pytest.raises(Closed):
            async with Host(CONFIG):
                pytest.fail("it cannot begin")
    assert sockets(place) == []
    async with Host(CONFIG) as again:
        assert sockets(place) == [again.socket_path]


@pytest.mark.parametrize(
    "failure", [StorageError("the disk is full: make room"), AssertionError("make room")]
)
@in_loop
async def test_a_peer_that_fails_while_it_starts_says_of_what(
    place: House, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def is_full(storage: SqliteStorage, records: object) -> None:
        raise failure

    built: list[Driver] = []
    build, status = assembly.build, Attachment.status

    def kept(config: Config) -> Driver:
        built.append(build(config))
        return built[0]

    async def late(tie: Attachment) -> Status:
        await eventually(lambda: not built[0].is_running)
        return await status(tie)

    monkeypatch.setattr(SqliteStorage, "write", is_full)
    monkeypatch.setattr(assembly, "build", kept)
    monkeypatch.setattr(Attachment, "status", late)
    with pytest.raises(type(failure), match="make room"):
        async with Host(CONFIG):
            pytest.fail("it cannot begin")
    assert sockets(place) == []


@in_loop
async def test_who_joins_by_a_code_is_said_to_wait_for_a_second_peer(place: House) -> None:
    """Whatever it expects: it forms no cluster by itself."""
    inviter = "127.0.0.1:1"
    code = encode(JoinCode(inviter, Secret(b"g" * 8), Secret(b"t" * 10), CLUSTER))
    guest = replace(CONFIG, join_code=code)
    async with Host(guest) as host:
        said = wait_of(guest, host.expect)
    assert "lets it in" in said
    assert "when 2 peers see each other" in said
    async with Host(replace(CONFIG, name="bee")) as host:
        assert "when 1 peers see each other" in wait_of(host.config, host.expect)


@in_loop
async def test_a_start_gives_out_the_code_of_the_one_before_and_not_one_that_was_asked_for(
    place: House,
) -> None:
    async with Host(CONFIG) as host:
        assert await host.ready()
        asked = await invited(host.attachment, INVITE_SECONDS, False)
        code = decode(await host.invite()).token
        assert code != decode(asked).token
        assert decode(await host.invite()).token == code
        assert decode(await invited(host.attachment, INVITE_SECONDS, False)).token != code


@in_loop
async def test_a_start_for_whose_code_there_is_no_room_makes_none_and_says_so(
    place: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keyring_module, "INVITATIONS_MAX", 1)
    async with Host(CONFIG) as host:
        assert await host.ready()
        given_out = await invited(host.attachment, INVITE_SECONDS, False)
        assert given_out
        assert await host.invite() == ""
        assert "no join code was made at this start" in caplog.text
