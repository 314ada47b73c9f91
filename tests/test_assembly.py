"""Real peers in one process: real sockets, real disks, the real node."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq
from msgspec import structs

from mabeam_p2p import assembly
from mabeam_p2p.addresses import is_loopback, split_address
from mabeam_p2p.assembly import IN_MEMORY, build
from mabeam_p2p.commands import AppendJournal, OpenSession
from mabeam_p2p.config import Config, Timing
from mabeam_p2p.errors import AddressError, ConfigError, DataFolderHeld, NoRoute
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.records import Status
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Found,
    JournalQuery,
    Read,
    ReadStatus,
    StatusAnswer,
    Submit,
)
from mabeam_p2p.runtime.backend import LoopBackend
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.runtime.thread import PeerThread
from mabeam_p2p.security.codes import JoinCode, encode, new_gate
from mabeam_p2p.security.kept_port import PORT_NAME, kept_port
from mabeam_p2p.security.keyring import KEY_NAME, open_keyring
from mabeam_p2p.security.secrets import Secret
from tests.eventually import in_one_of
from tests.in_loop import in_loop
from tools.children import free_ports

PATIENT = Timing(election_timeout_seconds=2.0)
"""A machine that stalls for a while deposes nobody."""


def config(name: str, folder: Path, **settings: object) -> Config:
    chosen: dict[str, object] = {
        "name": name,
        "cluster": "assembly",
        "data_dir": str(folder / name),
        "mdns": False,
        **settings,
    }
    return Config(**chosen)  # type: ignore[arg-type]  # The test's own words.


async def ask_status(driver: Driver) -> Status:
    answer = await LoopBackend(driver).ask(ReadStatus())
    assert isinstance(answer, StatusAnswer)
    return answer.status


async def leader_of(drivers: Sequence[Driver]) -> Driver:
    """The peer that all of them follow, once there is one."""
    async with asyncio.timeout(60):
        while True:
            statuses = [await ask_status(driver) for driver in drivers]
            leaders = {status.leader for status in statuses}
            found = [driver for driver in drivers if leaders == {driver.peer}]
            if found and all(status.quorum for status in statuses):
                return found[0]
            await asyncio.sleep(0.005)


def session_at(peer: PeerId) -> SessionId:
    """Of the only agent there."""
    return SessionId(int(peer[:8], 16) + 1)


async def commit(driver: Driver, sequence: int) -> Answer:
    session = session_at(driver.peer)
    return await LoopBackend(driver).ask(
        Submit(AppendJournal(session, sequence, "trials", b"%d" % sequence), timeout=20.0)
    )


async def open_session(driver: Driver, owner: PeerId) -> Answer:
    session, agent = session_at(owner), AgentId(f"a@{owner}")
    return await LoopBackend(driver).ask(
        Submit(OpenSession(session, 1, agent, owner, 1, (), True, True), timeout=20.0)
    )


async def journal(driver: Driver) -> tuple[bytes, ...]:
    answer = await LoopBackend(driver).ask(Read(JournalQuery("trials"), linearizable=True))
    assert isinstance(answer, Found)
    return answer.journals[0].items if answer.journals else ()


@asynccontextmanager
async def three_peers(folder: Path, **settings: object) -> AsyncIterator[list[Driver]]:
    drivers: list[Driver] = []
    try:
        for number, port in enumerate(free_ports(3)):
            places = {"seeds": tuple(one.address for one in drivers), "listen": f"127.0.0.1:{port}"}
            drivers.append(build(config(f"p{number}", folder, **places, **settings)))
            await drivers[-1].start()
        yield drivers
    finally:
        await asyncio.gather(*(driver.close() for driver in drivers))


def crash(driver: Driver) -> None:
    """What an invariant that breaks does: no goodbye, nothing more is said."""
    driver._fail(RuntimeError("planted crash"))


@pytest.mark.slow
def test_three_peers_form_a_cluster_commit_and_survive_the_loss_of_their_leader(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with three_peers(tmp_path) as drivers:
            leader = await leader_of(drivers)
            for driver in drivers:
                assert isinstance(await open_session(leader, driver.peer), Committed)
            for sequence in range(2, 6):
                follower_or_leader = drivers[sequence % 3]
                assert isinstance(await commit(follower_or_leader, sequence), Committed)
            crash(leader)
            rest = [driver for driver in drivers if driver is not leader]
            await leader_of(rest)
            assert isinstance(await commit(rest[0], 6), Committed)
            assert await journal(rest[1]) == (b"2", b"3", b"4", b"5", b"6")

    asyncio.run(story())


@pytest.mark.slow
def test_a_crashed_peer_comes_back_with_its_identity_and_its_log(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_peers(tmp_path) as drivers:
            await leader_of(drivers)
            assert isinstance(await open_session(drivers[0], drivers[0].peer), Committed)
            crashed = drivers[2]
            crash(crashed)
            await drivers[2].close()
            rest = drivers[:2]
            await leader_of(rest)
            assert isinstance(await commit(rest[0], 2), Committed)
            drivers[2] = build(config("p2", tmp_path, listen=crashed.address))
            assert drivers[2].peer == crashed.peer
            await drivers[2].start()
            await leader_of(drivers)
            assert await journal(drivers[2]) == (b"2",)

    asyncio.run(story())


@pytest.mark.slow
def test_peers_find_each_other_by_multicast_alone(tmp_path: Path) -> None:
    async def story() -> None:
        cluster = f"assembly-{time.monotonic_ns()}"
        drivers = [
            build(config(f"p{number}", tmp_path, mdns=True, cluster=cluster)) for number in range(3)
        ]
        for driver in drivers:
            await driver.start()
        await leader_of(drivers)
        await asyncio.gather(*(driver.close() for driver in drivers))

    asyncio.run(story())


@pytest.mark.slow
def test_garbage_on_the_port_deposes_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_peers(tmp_path, timing=PATIENT) as drivers:
            leader = await leader_of(drivers)
            term = (await ask_status(leader)).term
            with socket.create_connection(split_address(leader.address)) as stranger:
                stranger.sendall(bytes(range(256)) * 256)
            assert isinstance(await open_session(drivers[0], drivers[0].peer), Committed)
            assert await leader_of(drivers) is leader
            assert (await ask_status(leader)).term == term

    asyncio.run(story())


@pytest.mark.slow
def test_an_application_that_blocks_does_not_depose_its_leader(tmp_path: Path) -> None:
    """The step lasts three election timeouts; the peer's thread keeps the leadership."""

    async def story() -> None:
        threads: list[PeerThread] = []
        backends = []
        seeds: tuple[str, ...] = ()
        for number in range(3):
            built: list[Driver] = []
            settings = config(f"p{number}", tmp_path, seeds=seeds, timing=PATIENT)

            def make(settings: Config = settings, built: list[Driver] = built) -> Driver:
                built.append(build(settings))
                return built[0]

            thread = PeerThread(make)
            await thread.start()
            threads.append(thread)
            backends.append(thread.backend())
            seeds = (*seeds, built[0].address)

        async def terms() -> dict[str | None, set[int]]:
            found: dict[str | None, set[int]] = {}
            for backend in backends:
                answer = await backend.ask(ReadStatus())
                assert isinstance(answer, StatusAnswer)
                found.setdefault(answer.status.leader, set()).add(answer.status.term)
            return found

        async def leads_on() -> bool:
            async with asyncio.timeout(60):
                before = await terms()
                while len(before) > 1 or None in before:
                    before = await terms()
            time.sleep(3 * PATIENT.election_timeout_seconds)  # noqa: ASYNC251
            return await terms() == before

        await in_one_of(3, leads_on)
        for thread in threads:
            await thread.close()

    asyncio.run(story())


@pytest.mark.slow
@pytest.mark.parametrize("is_plain", [False, True], ids=["keys", "plain"])
def test_peers_that_are_all_started_anew_find_each_other_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_plain: bool
) -> None:
    """Nobody names a port or a seed, and nothing is announced: they know what they remember."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    async def story() -> None:
        async with three_peers(tmp_path, insecure_plaintext=is_plain) as drivers:
            leader = await leader_of(drivers)
            assert isinstance(await open_session(leader, leader.peer), Committed)
            assert isinstance(await commit(leader, 2), Committed)
            places = [driver.address for driver in drivers]
            await asyncio.gather(*(driver.close() for driver in drivers))
            for number in range(3):
                settings = config(f"p{number}", tmp_path, insecure_plaintext=is_plain)
                drivers[number] = build(settings)
                await drivers[number].start()
            assert [driver.address for driver in drivers] == places
            leader = await leader_of(drivers)
            assert await journal(leader) == (b"2",)

    asyncio.run(story())


def port_of(settings: Config) -> int:
    """Where a peer of these settings is bound, for a moment."""
    driver = build(settings)
    asyncio.run(driver.close())
    return split_address(driver.address)[1]


@pytest.mark.parametrize("is_plain", [False, True], ids=["keys", "plain"])
def test_a_port_is_kept_from_the_first_start_and_one_that_is_named_counts_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_plain: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = config("p", tmp_path, insecure_plaintext=is_plain)
    assert kept_port(tmp_path / "p") == 0
    assert port_of(settings) == kept_port(tmp_path / "p")
    for port in free_ports(2):
        assert port_of(structs.replace(settings, listen=f"127.0.0.1:{port}")) == port
        for unnamed in ("", "127.0.0.1", "127.0.0.1:0", "127.0.0.2"):
            assert port_of(structs.replace(settings, listen=unnamed)) == port
            assert kept_port(tmp_path / "p") == port
    try:
        assert port_of(structs.replace(settings, listen="[::1]:0")) == port
    except AddressError:
        pytest.skip("this machine has no IPv6 loopback")


def test_two_peers_of_one_host_have_each_their_own_port(tmp_path: Path) -> None:
    places = dict(zip("pq", free_ports(2), strict=True))
    for name, port in places.items():
        port_of(config(name, tmp_path, listen=f"127.0.0.1:{port}"))
    assert {name: port_of(config(name, tmp_path)) for name in places} == places


@pytest.mark.parametrize("is_plain", [False, True], ids=["keys", "plain"])
def test_where_the_port_that_a_peer_had_is_taken_another_one_is_and_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_plain: bool,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    [port] = free_ports(1)
    settings = config("p", tmp_path, insecure_plaintext=is_plain)
    named = structs.replace(settings, listen=f"127.0.0.1:{port}")
    assert port_of(named) == port
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(AddressError, match="another program has the port"):
            build(named)
        assert kept_port(tmp_path / "p") == port
        caplog.clear()
        other = port_of(settings)
    assert other not in (0, port)
    assert kept_port(tmp_path / "p") == other
    [told] = [one.getMessage() for one in caplog.records if str(port) in one.getMessage()]
    assert f"127.0.0.1:{other}" in told
    assert "--listen" in told


def test_a_damaged_port_file_keeps_no_peer_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config("p", tmp_path)
    port_of(settings)
    (tmp_path / "p" / PORT_NAME).write_text("{")
    port = port_of(settings)
    assert str(tmp_path / "p" / PORT_NAME) in caplog.text
    assert kept_port(tmp_path / "p") == port


def test_a_peer_in_memory_holds_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def story() -> None:
        driver = build(config("p", tmp_path, data_dir=IN_MEMORY))
        await driver.start()
        await driver.close()

    asyncio.run(story())
    assert [*tmp_path.iterdir()] == []


def test_a_peer_that_a_code_let_in_listens_there_again_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = {"127.0.0.7": "127.0.0.2"}
    monkeypatch.setattr(assembly, "local_host", lambda remote: routes.get(remote, "127.0.0.1"))
    settings = config("p", tmp_path)

    def host(**changes: object) -> str:
        chosen = structs.replace(settings, **changes)
        driver = build(chosen)
        asyncio.run(driver.close())
        assert split_address(assembly.listen_address(chosen))[0] == split_address(driver.address)[0]
        return split_address(driver.address)[0]

    assert host() == "127.0.0.1"
    gate = new_gate()
    keyring = open_keyring(tmp_path / "p", None, joins_gate=gate, inviter="127.0.0.7:7946")
    assert host() == "127.0.0.1", "it has not been let in"
    keyring.join(gate, Secret(b"s" * 32))
    assert host() == "127.0.0.2"
    assert host(listen="127.0.0.1:0") == "127.0.0.1"
    open_keyring(tmp_path / "p", None, joins_gate=gate, inviter="192.0.2.7:7946")
    with pytest.raises(NoRoute, match=r"no way to 192\.0\.2\.7.*--listen"):
        build(settings)
    assert host(listen="127.0.0.1:0") == "127.0.0.1", "and the folder is free"


@in_loop
async def test_a_peer_that_a_code_let_in_founds_no_cluster_of_its_own_later(
    tmp_path: Path,
) -> None:
    """It may have been ended between the code and the first entry of its cluster's log."""
    gate = new_gate()
    for name, expected in (("guest", 2), ("founder", 1)):
        if name == "guest":
            (tmp_path / name).mkdir(mode=0o700)
            keyring = open_keyring(tmp_path / name, None, joins_gate=gate, inviter="127.0.0.1:7946")
            keyring.join(gate, Secret(b"s" * 32))
        driver = build(config(name, tmp_path, expect=1))
        try:
            await driver.start()
            assert (await ask_status(driver)).expect == expected
        finally:
            await driver.close()


@in_loop
async def test_who_has_a_cluster_is_not_let_into_another_one_by_a_code(tmp_path: Path) -> None:
    """It would take that one's secret over, for all of its user's peers, and stay alone."""

    def files() -> dict[str, bytes]:
        kept = (tmp_path / "p").iterdir()
        return {one.name: one.read_bytes() for one in kept if one.suffix in (".key", ".secret")}

    def code_of(gate: Secret) -> str:
        return encode(JoinCode("127.0.0.1:7946", gate, Secret(b"t" * 10), "assembly"))

    driver = build(config("p", tmp_path, expect=1))
    try:
        await driver.start()
        while not (await ask_status(driver)).cluster_id:
            pass
        gate = open_keyring(tmp_path / "p", None).gate
    finally:
        await driver.close()
    assert gate is not None
    before = files()
    with pytest.raises(ConfigError, match=r"another cluster.*--data-dir") as caught:
        build(config("p", tmp_path, join_code=code_of(new_gate())))
    assert caught.value.key == "join_code"
    assert files() == before
    await build(config("p", tmp_path, join_code=code_of(gate))).close()


def test_who_has_had_keys_does_not_go_on_without_where_libzmq_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def address_without_curve(**changes: object) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(zmq, "has", lambda _: False)
            driver = build(config("p", tmp_path, **changes))
            asyncio.run(driver.close())
            return driver.address

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert is_loopback(split_address(address_without_curve())[0])
    assert "has no CURVE" in caplog.text
    asyncio.run(build(config("p", tmp_path)).close())
    with pytest.raises(ConfigError, match=r"no CURVE, is refused, as this peer has had.*pyzmq"):
        address_without_curve()
    (tmp_path / "p" / KEY_NAME).unlink()
    with pytest.raises(ConfigError, match=r"as this peer has had a key"):
        address_without_curve()
    with pytest.raises(ConfigError, match=r"this user's peers of cluster 'assembly' have keys"):
        address_without_curve(data_dir=IN_MEMORY)
    assert address_without_curve(data_dir=IN_MEMORY, cluster="other"), "of which nobody has keys"


def test_a_taken_port_leaves_the_folder_free(tmp_path: Path) -> None:
    async def story() -> None:
        holder = build(config("holder", tmp_path))
        with pytest.raises(AddressError, match="another program has the port"):
            build(config("other", tmp_path, listen=holder.address))
        other = build(config("other", tmp_path))
        await other.close()
        await holder.close()

    asyncio.run(story())


def test_a_held_folder_is_refused_before_the_port_is_bound(tmp_path: Path) -> None:
    async def story() -> None:
        holder = build(config("p", tmp_path))
        with pytest.raises(DataFolderHeld):
            build(config("p", tmp_path, listen=holder.address))
        await holder.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"name": ""}, ConfigError),
        ({"cluster": "a b"}, ConfigError),
        ({"listen": "192.0.2.1:0"}, AddressError),
        ({"seeds": ("nonsense",)}, AddressError),
    ],
)
def test_what_cannot_work_is_refused_and_holds_nothing(
    tmp_path: Path, settings: dict[str, object], error: type[Exception]
) -> None:
    async def story() -> None:
        with pytest.raises(error):
            build(structs.replace(config("p", tmp_path), **settings))
        driver = build(config("p", tmp_path))
        await driver.close()

    asyncio.run(story())
