"""How long a data folder takes to open: read, restore the snapshot, apply the rest of the log.

Makes a folder of one voter whose log has so many entries, once with snapshots and once without, and
opens each as a start does, in a process of its own so that nothing is warm but the disk's cache.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from mabeam_p2p.commands import AddCounter, AnyCommand, OpenSession
from mabeam_p2p.config import Config, Limits
from mabeam_p2p.effects import Effects, Persist
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.records import Record, Recovered
from mabeam_p2p.storage.sqlite import SqliteStorage
from mabeam_p2p.wire.codec import CborCodec

ROOT = Path(__file__).resolve().parent.parent
COMMANDS_PER_BATCH = 1_000
SESSIONS = 10
NEVER = 1 << 50


class Peer:
    """The only voter of a cluster: a node, its disk, and a clock that goes when it must."""

    def __init__(self, path: str, limits: Limits) -> None:
        self.storage = SqliteStorage(path)
        started = time.perf_counter()
        recovered: Recovered = self.storage.recover()
        self.read_seconds = time.perf_counter() - started
        self.codec = CborCodec(limits)
        self.now = 1000.0
        config = Config(name="one", expect=1, mdns=False, limits=limits)
        self.node = Node(config, recovered, "127.0.0.1:1", self.codec, Random(1), 1.7e9, self.now)
        self.recovered = recovered
        self.carry(self.node.start(self.now))
        while self.node.replication.leadership is None:
            self.now = max(self.now + 0.01, min(self.node.next_deadline(), self.now + 1.0))
            self.carry(self.node.tick(self.now))
            self.carry(self.node.flush(self.now))

    def carry(self, effects: Effects) -> None:
        """Store what is to be stored, and say so."""
        persists = [effect for effect in effects if isinstance(effect, Persist)]
        if persists:
            records: list[Record] = [persist.record for persist in persists]
            self.storage.write(records)
            self.carry(self.node.stored(persists[-1].number, self.now))
            self.carry(self.node.flush(self.now))

    def append(self, commands: list[AnyCommand]) -> None:
        blob = self.codec.encode_commands(commands)
        assert self.node.replication.propose(len(commands), blob), "the log takes no more"
        self.carry(self.node.flush(self.now))

    def apply_all(self) -> None:
        while self.node.machine.applied_index < self.node.replication.commit_index:
            self.carry(self.node.flush(self.now))


def make(path: str, entry_count: int, limits: Limits) -> None:
    peer = Peer(path, limits)
    mine = peer.node.peer
    opened = [
        OpenSession(SessionId(s), 1, AgentId(f"a{s}@one"), mine, 1, (), True, True)
        for s in range(1, SESSIONS + 1)
    ]
    peer.append(list(opened))
    for first in range(0, entry_count, COMMANDS_PER_BATCH):
        peer.append(
            [
                AddCounter(SessionId(1 + n % SESSIONS), 2 + n // SESSIONS, f"c{n % 10_000}", 1)
                for n in range(first, first + COMMANDS_PER_BATCH)
            ]
        )
    peer.apply_all()
    peer.storage.close()


def measure(path: str, limits: Limits) -> dict[str, float]:
    started = time.perf_counter()
    peer = Peer(path, limits)
    peer.apply_all()
    seconds = time.perf_counter() - started
    log = peer.node.replication.log
    peer.storage.close()
    return {
        "seconds": round(seconds, 3),
        "read_seconds": round(peer.read_seconds, 3),
        "entries": log.last_index,
        "entries_held": log.last_index - log.base.index,
        "snapshot_bytes": len(peer.recovered.snapshot.data) if peer.recovered.snapshot else 0,
        "folder_bytes": sum(file.stat().st_size for file in Path(path).iterdir()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/reopen", description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--open", metavar="FOLDER", help="only open this one, and say how long")
    parser.add_argument("--no-snapshots", action="store_true")
    options = parser.parse_args()
    limits = Limits(snapshot_entries=NEVER, snapshot_bytes=NEVER)
    if options.open:
        print(json.dumps(measure(options.open, limits if options.no_snapshots else Limits())))
        return 0
    for flags in ([], ["--no-snapshots"]):
        with tempfile.TemporaryDirectory(prefix="reopen-") as path:
            make(path, options.entries, limits if flags else Limits())
            command = [sys.executable, "-m", "tools.reopen", "--open", path, *flags]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            print(
                f"{'without' if flags else 'with':8} snapshots: {done.stdout.strip()}", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
