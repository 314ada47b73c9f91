"""Peers on the same link, by multicast DNS (RFC 6762) and service discovery (RFC 6763).

Announcements are hints: they add addresses and never remove a member, and nobody is believed to
be who a record says.

Of a peer with keys they are dialled only if a peer of the cluster has signed them (ports,
Announcements): anybody can publish anything here.

Rules
1. One explicit interface, that of the peer's own address: on loopback nothing leaves the machine.
2. The instance is named by the peer's key, or its id, unique by construction, so nothing is probed
   for.
3. The announcement is repeated, and, while peers are missing, so is the question: a browser on its
   own is silent for most of an hour, and misses whoever came while the network was cut.
4. Questions want multicast answers (QM): a unicast one reaches one socket of a host only.
5. Whatever fails here is one warning; seeds work without it.
6. A socket stays with the address for which it was opened. When this peer's address changes, and
   when it comes after it was away, everything is opened anew, and announced.
"""

import asyncio
import hashlib
import importlib
import logging
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mabeam_p2p.addresses import is_loopback, join_address, split_address
from mabeam_p2p.config import PROTOCOL_VERSION, SERVICE_TYPE
from mabeam_p2p.discovery import throttle
from mabeam_p2p.discovery.threads import off_loop
from mabeam_p2p.ids import PeerId, is_peer_id
from mabeam_p2p.ports import Announcements

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

ANNOUNCE_SECONDS = 5.0
ANNOUNCE_SECONDS_MAX = 30.0
"""Between two announcements; doubles from the first to the second, with jitter."""
BROWSE_SECONDS = 3.0
"""Between two rounds of questions, while fewer peers are known than are expected."""
RESOLVE_MILLISECONDS = 3000
ADDRESSES_PER_PEER_MAX = 4
ADDRESSES_PER_RECORD_MAX = 16
"""That are looked at: each costs a check of its own."""
TXT_BYTES_MAX = 400
"""All of a record in one packet."""

_AWAY_WARNING = (
    "%s is no address of this machine any more: until it is, other peers neither find nor reach "
    "this one. A peer that listens on 0.0.0.0 follows the addresses of its machine"
)

_log = logging.getLogger(__name__)


class MdnsDiscovery:
    """The Discovery of `ports` over zeroconf, which is imported when it is started."""

    def __init__(
        self,
        *,
        peer: PeerId,
        cluster: str,
        epoch: int,
        address: str,
        expect: int,
        candidates_max: int,
        announcements: Announcements | None = None,
    ) -> None:
        """address: where this peer is reached. expect: peers, this one included, until which the
        question is repeated. announcements: None for a peer without keys."""
        self._peer = peer
        self._announcements = announcements
        self._cluster = cluster_hash(cluster)
        self._epoch = epoch
        self._host, self._port = split_address(address)
        self._expect = expect
        self._candidates_max = candidates_max
        self._suggest: Callable[[tuple[str, ...]], None] = lambda addresses: None
        self._known: dict[str, None] = {}
        """Instances of this cluster that were resolved."""
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._stack: AsyncZeroconf | None = None
        self._published: AsyncServiceInfo | None = None
        """What is announced at present."""
        self._browser: AsyncServiceBrowser | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_away = False
        """Whether this machine had not this peer's address when last looked."""

    async def start(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
        """Never raises: without multicast there is one warning, and nothing is found until it
        works."""
        self._suggest = suggest
        try:
            await off_loop(lambda: importlib.import_module("zeroconf.asyncio"))
        except Exception as error:
            self._warn(error)
            return
        try:
            await self._open()
        except Exception as error:
            self._warn(error)
            await self._shut()
            self._is_away = True
        self._task = asyncio.create_task(self._repeat(), name="mdns")

    def moved(self, address: str) -> None:
        self._host, self._port = split_address(address)
        self._is_away = True

    async def close(self) -> None:
        """Withdraw the announcement. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._shut()

    def _warn(self, error: Exception) -> None:
        _log.warning("mDNS does not work here (%s); peers are found by seeds alone", error)

    async def _shut(self) -> None:
        """Close what `_open` has opened."""
        tasks = tuple(self._resolving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Whoever was there is asked for again: it may be elsewhere, too.
        self._known.clear()
        stack, self._stack = self._stack, None
        if stack is None:
            return
        browser, self._browser = self._browser, None
        with suppress(Exception):
            if browser is not None:
                await browser.async_cancel()
            await stack.async_close()

    async def _open(self) -> None:
        from zeroconf.asyncio import AsyncZeroconf

        interface = self._interface()
        _check_interface(interface)
        self._stack = AsyncZeroconf(interfaces=[interface])
        await throttle.install(self._stack.zeroconf)
        self._browse()
        self._published = None
        await self._announce()

    def _interface(self) -> str:
        # Multicast on ::1 reaches nobody; peers there still find each other over IPv4.
        return "127.0.0.1" if is_loopback(self._host) else self._host

    @property
    def _instance(self) -> str:
        return self._peer if self._announcements is None else self._announcements.instance

    def _facts(self) -> dict[str, str]:
        """Empty as long as there is nothing to publish."""
        if self._announcements is not None:
            return self._announcements.facts(self._host, self._port)
        return {
            "v": str(PROTOCOL_VERSION),
            "id": self._peer,
            "cluster": self._cluster,
            # A restart changes the record, else no browser would tell of it.
            "epoch": str(self._epoch),
        }

    def _announcement(self, instance: str, facts: dict[str, str]) -> "AsyncServiceInfo":
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{instance}.{SERVICE_TYPE}",
            port=self._port,
            parsed_addresses=[self._host.partition("%")[0]],
            server=f"{instance}.local.",
            properties=facts,
        )
        assert len(info.text or b"") <= TXT_BYTES_MAX
        return info

    def _browse(self) -> None:
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceBrowser

        assert self._stack is not None
        self._browser = AsyncServiceBrowser(
            self._stack.zeroconf,
            [SERVICE_TYPE],
            handlers=[self._on_change],
            question_type=DNSQuestionType.QM,
        )

    async def _repeat(self) -> None:
        loop = asyncio.get_running_loop()
        pause = ANNOUNCE_SECONDS
        announce_at = loop.time() + pause * random.uniform(0.75, 1.0)
        while True:
            await asyncio.sleep(BROWSE_SECONDS * random.uniform(0.75, 1.25))
            try:
                if not await self._is_open():
                    pause, announce_at = ANNOUNCE_SECONDS, loop.time()
                    continue
                if len(self._known) < self._expect - 1:
                    await self._browse_anew()
                if loop.time() >= announce_at:
                    await self._announce()
                    pause = min(2 * pause, ANNOUNCE_SECONDS_MAX)
                    announce_at = loop.time() + pause * random.uniform(0.75, 1.0)
            except Exception:
                # An interface that went away may come back.
                _log.debug("mDNS: this round failed", exc_info=True)

    async def _is_open(self) -> bool:
        """Whether it was, and goes on; else it is opened anew once the address is there."""
        try:
            _check_interface(self._interface())
        except OSError:
            if not self._is_away:
                _log.warning(_AWAY_WARNING, self._host)
            self._is_away = True
            return False
        if not self._is_away:
            return True
        self._is_away = False  # Before: it may move once more meanwhile.
        try:
            await self._shut()
            await self._open()
        except Exception:
            self._is_away = True
            raise
        return False

    async def _browse_anew(self) -> None:
        if self._browser is not None:
            await self._browser.async_cancel()
        self._browse()

    async def _announce(self) -> None:
        """Say it, or say it again, as it is now: secrets and keys are rotated."""
        assert self._stack is not None
        facts, instance = self._facts(), self._instance
        if not facts:
            return
        info = self._announcement(instance, facts)
        if self._published is not None and self._published.name == info.name:
            await self._stack.async_update_service(info)
        else:
            if self._published is not None:
                await self._stack.async_unregister_service(self._published)
            await self._stack.async_register_service(info, cooperating_responders=True)
        self._published = info

    # ---- what others announce ----------------------------------------------------------------

    def _on_change(
        self,
        zeroconf: "Zeroconf",
        service_type: str,
        name: str,
        state_change: "ServiceStateChange",
    ) -> None:
        instance = name.removesuffix(f".{SERVICE_TYPE}")
        if not is_peer_id(instance) or instance == self._instance:
            return
        if state_change.name == "Removed":
            # Of interest for the next question only: who left is not for discovery to say.
            self._known.pop(instance, None)
        elif instance not in self._resolving and self._has_room_for(instance):
            task = asyncio.create_task(self._resolve(zeroconf, instance), name=f"mdns {instance}")
            self._resolving[instance] = task
            task.add_done_callback(lambda _: self._resolving.pop(instance, None))

    def _has_room_for(self, instance: str) -> bool:
        return (
            instance in self._known
            or len(self._known) + len(self._resolving) < self._candidates_max
        )

    async def _resolve(self, zeroconf: "Zeroconf", instance: str) -> None:
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE_TYPE, f"{instance}.{SERVICE_TYPE}")
        try:
            is_resolved = info.load_from_cache(zeroconf) or await info.async_request(
                zeroconf, RESOLVE_MILLISECONDS, question_type=DNSQuestionType.QM
            )
            addresses = self._usable(info) if is_resolved else ()
        except Exception:
            # The record came from the network, and may hold anything.
            _log.debug("mDNS: record of %s is unusable", instance, exc_info=True)
            return
        if addresses:
            self._known[instance] = None
            self._suggest(addresses)

    def _usable(self, info: "AsyncServiceInfo") -> tuple[str, ...]:
        """Addresses that mean the same here as there: loopback ones on loopback only."""
        port = info.port or 0
        is_local = is_loopback(self._host)
        hosts = dict.fromkeys(info.parsed_scoped_addresses()[:ADDRESSES_PER_RECORD_MAX])
        usable = [
            host
            for host in hosts
            if port and is_loopback(host) == is_local and self._is_believed(info, host, port)
        ]
        return tuple(join_address(host, port) for host in usable[:ADDRESSES_PER_PEER_MAX])

    def _is_believed(self, info: "AsyncServiceInfo", host: str, port: int) -> bool:
        if self._announcements is None:
            return info.properties.get(b"cluster") == self._cluster.encode()
        return self._announcements.is_genuine(info.properties, host, port)


def _check_interface(host: str) -> None:
    """Raises OSError if this machine has no such address; zeroconf would leak a socket then."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))


def cluster_hash(cluster: str) -> str:
    """What stands for a cluster's name in announcements: names stay at home."""
    return hashlib.sha256(cluster.encode()).hexdigest()[:16]
