"""From a configuration to a peer: the only place that names concrete adapters."""

import logging
import random
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import zmq
from msgspec.structs import replace

from mabeam_p2p.addresses import is_loopback, join_address, split_address
from mabeam_p2p.config import Config, Limits
from mabeam_p2p.discovery.mdns import MdnsDiscovery
from mabeam_p2p.discovery.seeds import SeedDiscovery
from mabeam_p2p.errors import AddressError, ConfigError, NoRoute
from mabeam_p2p.ids import check_name
from mabeam_p2p.ports import Discovery, Storage
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.protocol.replication import repair as repairing
from mabeam_p2p.records import Recovered
from mabeam_p2p.runtime.backend import LoopBackend
from mabeam_p2p.runtime.bulk import BulkThread, message_bytes_max
from mabeam_p2p.runtime.clock import SystemClock
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.security import codes
from mabeam_p2p.security.announcements import Announcements
from mabeam_p2p.security.codes import JoinCode
from mabeam_p2p.security.gate import Gate
from mabeam_p2p.security.gatekeeper import Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.kept_port import keep_port, kept_port
from mabeam_p2p.security.keyring import inviter_of, is_secured, open_keyring, shared_path
from mabeam_p2p.storage.folder import default_path
from mabeam_p2p.storage.memory import MemoryStorage
from mabeam_p2p.storage.sqlite import SqliteStorage, last_written
from mabeam_p2p.transport.bulk import ZeroMqBulk
from mabeam_p2p.transport.hosts import listen_host, local_host, split_listen
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from mabeam_p2p.wire.codec import CborCodec
from mabeam_p2p.wire.joining import JoinCodec

_log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1:0"
"""Where a peer listens if nothing leads elsewhere."""
IN_MEMORY = ":memory:"
"""The data folder that keeps nothing."""


def build(config: Config) -> Driver:
    """A peer that is ready to start: its folder is held and its port is bound. `config.name` must
    be set. Raises ConfigError, StorageError, AddressError, and then holds nothing."""
    check_name(config.name, "peer name")
    check_name(config.cluster, "cluster name")
    code = _join_code(config)
    with ExitStack() as undo:
        # The folder first: two processes with one identity must not meet on the network.
        storage = _storage(config)
        recovered = storage.recover()
        undo.callback(storage.close)
        if config.expect < 2 and _inviter(config, code):
            # By itself it would form a cluster of its own, and be none of its inviter's for good:
            # also if it was ended before it had any of that one's log.
            config = replace(config, expect=2)
        gatekeeper = _gatekeeper(config, code, recovered, storage.path)
        transport = _transport(config, code, gatekeeper)
        undo.callback(transport.close)
        clock = SystemClock()
        gate: Gate | None = None
        if gatekeeper is not None:
            inviter = code.address if code is not None else ""
            guard = gatekeeper.guard
            gate = Gate(guard, transport, cluster=config.cluster, inviter=inviter)
            transport.on_refusal = gate.on_refusal
        codec = CborCodec(config.limits)
        node = Node(
            config,
            recovered,
            transport.address,
            codec,
            random.Random(random.SystemRandom().getrandbits(128)),
            clock.wall(),
            clock.monotonic(),
        )
        driver = Driver(
            peer=recovered.peer,
            name=config.name,
            cluster=config.cluster,
            node=node,
            codec=codec,
            storage=storage,
            transport=transport,
            discoveries=_discoveries(config, code, gatekeeper, recovered, transport.address),
            limits=config.limits,
            clock=clock,
            gate=gate,
        )
        undo.pop_all()
    return driver


def check(config: Config) -> None:
    """Refuse settings of addresses that `build` would refuse at each try. Looks, and makes nothing.
    Raises AddressError."""
    SeedDiscovery(config.seeds)
    if config.listen:
        try:
            listen_host(config.listen, zmq.has("curve") or config.insecure_plaintext)
        except AddressError as error:
            if not error.is_passing:  # A network may come, or a name server.
                raise


def loop_backend(driver: Driver) -> LoopBackend:
    """A peer that runs on this loop, as its agents see it. It must have been started."""
    return LoopBackend(driver)


def bulk_thread(host: str, limits: Limits) -> BulkThread:
    """Sockets for much data on an IP address of this machine, ready to be started."""
    return BulkThread(
        partial(ZeroMqBulk, host, message_bytes_max=message_bytes_max(limits)),
        limits,
    )


def repair(data_dir: str, *, write: bool) -> tuple[repairing.Assessment | None, float]:
    """What the folder of a stopped peer knows, or None without a log, and when it was last written,
    in seconds since 1970. With `write` its log goes on with this peer alone, unless it does so
    already; without, nothing in the folder changes. Raises StorageError.
    """
    written_at = last_written(data_dir)
    storage = SqliteStorage(data_dir)
    if not write:
        return repairing.assess(storage.look()), written_at
    found = repairing.assess(storage.recover())
    try:
        if found is not None and found.is_needed:
            storage.write(repairing.repair(found, CborCodec(Limits()).encode_commands))
    finally:
        storage.close()
    return found, written_at


def join_cluster(code: str) -> str:
    """The cluster that a join code is for. Raises InvalidJoinCode."""
    return codes.decode(code).cluster


def _join_code(config: Config) -> JoinCode | None:
    if not config.join_code:
        return None
    code = codes.decode(config.join_code)
    if code.cluster != config.cluster:
        raise ConfigError(
            f"the join code is for cluster {code.cluster!r}, and this peer is to be of "
            f"{config.cluster!r}: leave one of them out",
            key="join_code",
        )
    return code


def listen_address(config: Config) -> str:
    """Where the peer of these settings will listen, as HOST:PORT; port 0: the `former_port` if that
    can be had, else any. Looks, and makes nothing. Raises InvalidJoinCode, KeyFileError,
    AddressError, NoRoute."""
    has_keys = zmq.has("curve") and not config.insecure_plaintext
    return join_address(*split_listen(_listen(config, _join_code(config), has_keys)))


def _transport(
    config: Config, code: JoinCode | None, gatekeeper: Gatekeeper | None
) -> ZeroMqTransport:
    """Bound, and its port is kept before anybody is told of it. Raises AddressError, NoRoute,
    KeyFileError."""
    folder = data_folder(config)
    known = kept_port(folder)
    transport = ZeroMqTransport(
        _listen(config, code, gatekeeper is not None),
        preferred_port=known,
        frame_bytes_max=config.limits.frame_bytes_max,
        insecure=config.insecure_plaintext,
        keys=gatekeeper,
    )
    if transport.port != known:
        keep_port(folder, transport.port)
    return transport


def former_port(folder: Path | None) -> int:
    """The port that the peer of this data folder had last; 0: none is known."""
    return kept_port(folder)


def _listen(config: Config, code: JoinCode | None, has_keys: bool) -> str:
    """If nobody has said so, on the interface that leads to the inviter, to that of long ago,
    too: without it a peer that restarts would be of no use to its cluster, and not say so."""
    if config.listen:
        return config.listen
    inviter = _inviter(config, code) if has_keys else ""
    if not inviter:
        return LOOPBACK
    remote, _ = split_address(inviter)
    host = local_host(remote)
    if is_loopback(host) and not is_loopback(remote):
        raise NoRoute(
            f"this machine has no way to {remote}, whose code lets this peer into its cluster: "
            "connect it to that network, or name the address to listen on (--listen)"
        )
    return join_address(host, 0)


def _inviter(config: Config, code: JoinCode | None) -> str:
    """The address of whose code lets this peer in, or has once; empty: nobody's. Raises
    KeyFileError."""
    if code is not None:
        return code.address
    folder = data_folder(config)
    return "" if folder is None else inviter_of(folder)


def _gatekeeper(
    config: Config, code: JoinCode | None, recovered: Recovered, folder: str
) -> Gatekeeper | None:
    """The keys of this peer, or None if it speaks without. Raises KeyFileError, ConfigError."""
    path = None if folder == IN_MEMORY else Path(folder)
    shared = shared_path(config.cluster)
    if code is not None and (config.insecure_plaintext or not zmq.has("curve")):
        raise ConfigError("a join code needs keys, and this peer has none", key="join_code")
    if config.insecure_plaintext or not zmq.has("curve"):
        _refuse_downgrade(config, path, shared)
    if config.insecure_plaintext:
        _log.warning(
            "INSECURE: peer %s speaks in plain text, and asks nobody for a proof. Whoever can reach"
            " its port can read what agents agree on, vote in their name, and take the cluster "
            "over",
            config.name,
        )
        return None
    if not zmq.has("curve"):
        _log.warning(
            "INSECURE: this libzmq has no CURVE, so that peer %s speaks without keys and stays on "
            "this machine, where every user can steer it: install a pyzmq that brings CURVE",
            config.name,
        )
        return None
    if shared is None:
        _log.warning(
            "this user has no home for the secret that its peers share: new ones will need a join "
            "code, unless HOME or XDG_STATE_HOME is set"
        )
    keyring = open_keyring(
        path,
        shared,
        joins_gate=None if code is None else code.gate,
        inviter="" if code is None else code.address,
    )
    has_cluster = recovered.bootstrap is not None and recovered.bootstrap.formed
    if code is not None and not keyring.has_joined and has_cluster:
        # Its log is of that one for good: let in elsewhere, it would be of neither.
        raise ConfigError(
            f"the data folder {folder} belongs to another cluster than the join code: take an "
            "empty one (--data-dir), or start without the code",
            key="join_code",
        )
    guard = Guard(recovered.peer, keyring, token=None if code is None else code.token)
    return Gatekeeper(guard, JoinCodec())


def _refuse_downgrade(config: Config, folder: Path | None, shared: Path | None) -> None:
    """Who has had keys does not go on without, nor do this user's other peers: neither because it
    was asked for, nor because the libzmq of today has none."""
    if folder is not None and is_secured(folder):
        why, where = "this peer has had a key", str(folder)
    elif shared is not None and shared.exists():
        why, where = f"this user's peers of cluster {config.cluster!r} have keys", str(shared)
    else:
        return
    if config.insecure_plaintext:
        key, what, remedy = "insecure_plaintext", "insecure_plaintext", "leave it out"
    else:
        key, what = None, "to speak without keys, since this libzmq has no CURVE,"
        remedy = "install a pyzmq that brings CURVE"
    raise ConfigError(
        f"{what} is refused, as {why} ({where}): {remedy}, or take another cluster and data folder",
        key=key,
        path=where,
    )


def data_folder(config: Config) -> Path | None:
    """Where the peer keeps its log; None: it keeps nothing. Does not look whether it exists. Raises
    ConfigError."""
    if config.data_dir == IN_MEMORY:
        return None
    return Path(config.data_dir or default_path(config.cluster, config.name))


def _storage(config: Config) -> Storage:
    path = data_folder(config)
    if path is None:
        return MemoryStorage()
    return SqliteStorage(str(path), bytes_max=config.limits.data_bytes_max)


def _discoveries(
    config: Config,
    code: JoinCode | None,
    gatekeeper: Gatekeeper | None,
    recovered: Recovered,
    address: str,
) -> tuple[Discovery, ...]:
    found: list[Discovery] = []
    seeds = config.seeds if code is None else (*config.seeds, code.address)
    if seeds:
        found.append(SeedDiscovery(seeds))
    if config.mdns:
        announcements: Announcements | None = None
        if gatekeeper is not None:
            announcements = Announcements(gatekeeper.guard, config.cluster, recovered.epoch)
        found.append(
            MdnsDiscovery(
                peer=recovered.peer,
                cluster=config.cluster,
                epoch=recovered.epoch,
                address=address,
                expect=config.expect,
                candidates_max=config.limits.candidates_max,
                announcements=announcements,
            )
        )
    return tuple(found)
