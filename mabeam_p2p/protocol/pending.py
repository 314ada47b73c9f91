"""Commands of this peer's own agents, from the asking to the outcome.

Every peer applies the log, so the outcome of a command is found where it was asked: by applying
it. Until then the command is sent again to whoever leads; sessions make that harmless.

Rules
1. A command is encoded once, with all that are sent in the same turn.
2. It is sent again when the leader changes, and, to another peer, when it stays unanswered.
3. It fails with `no_quorum`, `overloaded` or `disk_full` only if it was never given to a leader,
   or once, and was refused: certainly not done. Otherwise with `unknown`: maybe done.
4. For the first time it may go by way of a coordinator (`relay`), which counts as given to a
   leader; after that, to the leader itself.
5. To a leader whose disk is short of room, what it still takes (`room`) goes by itself.
"""

from collections.abc import Callable, Sequence

from mabeam_p2p.commands import AnyCommand, SetKeys
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Forward, ForwardRefused, Relay
from mabeam_p2p.protocol.core import Outbox, numbers_before
from mabeam_p2p.protocol.deadlines import Deadlines
from mabeam_p2p.protocol.room import UPKEEP
from mabeam_p2p.requests import Failed, Outcome, Refused

Key = tuple[int, int]
Leader = tuple[PeerId, int]
"""Who leads, in which term."""

DISK_FULL = "disk_full"

CHUNK_COMMANDS = 1024
FORWARDS_REMEMBERED = 256
INTERVAL_GROWTH_MAX = 8
"""How far the time between two sendings of a command grows, in forward timeouts."""


class Entry:
    """One command under way."""

    __slots__ = ("command", "forward_number", "given_count", "interval", "token")

    def __init__(self, token: int, command: AnyCommand) -> None:
        self.token = token
        self.command = command
        self.given_count = 0
        """How often it was given to a leader, this peer included."""
        self.forward_number = 0
        """Of the Forward that carried it last."""
        self.interval = 0.0


class Pending:
    """The commands that this peer has asked for and whose outcome it does not know yet."""

    def __init__(
        self,
        peer: PeerId,
        *,
        encode: Callable[[Sequence[AnyCommand]], bytes],
        propose: Callable[[int, bytes], bool],
        gather: Callable[[int, int, bytes], None],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        log_id: int = 0,
        epoch: int = 0,
        refusal: Callable[[], str] = lambda: "overloaded",
    ) -> None:
        """gather: passes a report on, given its number, count and blob, where this peer is the
        coordinator. refusal: why `propose` has just said no."""
        self._peer = peer
        self._encode = encode
        self._propose = propose
        self._refusal = refusal
        self._gather = gather
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._log_id = log_id
        self._entries: dict[Key, Entry] = {}
        self._keys: dict[int, Key] = {}
        """Of the entry that each token waits for."""
        self._unsent: dict[Key, None] = {}
        self._forwarded: dict[Key, float] = {}
        """When each forwarded command is to be sent again, soonest first but for longer waits."""
        self._deadlines: Deadlines[Key] = Deadlines()
        self._leader: Leader | None = None
        self._is_short = False
        """Whether that leader has refused something for want of room."""
        self._leaderless_since: float | None = None
        self._forward_number = numbers_before(epoch)
        self._forwards: dict[int, tuple[PeerId, bool, list[Key]]] = {}
        """To whom each went, whether that was a coordinator, and with what."""

    def __len__(self) -> int:
        return len(self._entries)

    # ---- verbs -------------------------------------------------------------------------------

    def submit(self, token: int, command: AnyCommand, deadline: float) -> None:
        """A command to commit. Asked again under the same numbers, the newer asker is answered."""
        key = (command.session, command.sequence)
        entry = self._entries.get(key)
        if entry is not None:
            self._outbox.resolve(entry.token, Failed("unknown", "the same command was asked again"))
            self._keys.pop(entry.token, None)
            entry.token = token
        elif len(self._entries) >= self._limits.pending_requests_max:
            text = f"{len(self._entries)} commands are under way on this peer: wait for some"
            self._outbox.resolve(token, Failed("overloaded", text))
            return
        else:
            self._entries[key] = Entry(token, command)
            self._unsent[key] = None
        if token:
            self._keys[token] = key
        self._deadlines.set(key, deadline)

    def committed(self, key: Key, outcome: Outcome) -> None:
        """The command of `key` has been applied."""
        entry = self._entries.get(key)
        if entry is not None:
            self._outbox.resolve(entry.token, outcome)
            self._drop(key)

    def caught_up(self, outcome_of: Callable[[AnyCommand], Outcome | None]) -> None:
        """A snapshot took the place of entries that were not applied one by one. outcome_of: what a
        command has come to; None: that cannot be known any more; LookupError: nothing yet."""
        for key, entry in list(self._entries.items()):
            try:
                outcome = outcome_of(entry.command)
            except LookupError:
                continue
            if outcome is not None:
                self.committed(key, outcome)
            elif entry.given_count:
                self._fail(key, SNAPSHOT_TOOK_ENTRIES)

    def cancel(self, token: int) -> None:
        """Nobody waits any more. What was sent may still be committed."""
        key = self._keys.get(token)
        if key is not None:
            self._drop(key)

    def flush(self, leader: Leader | None, now: float, coordinator: PeerId | None = None) -> None:
        """Send what is to be sent, to `leader`; None while nobody leads. What was not sent before
        goes by way of the coordinator, if there is one."""
        if leader is None:
            if self._leaderless_since is None:
                self._leaderless_since = now
        else:
            self._leaderless_since = None
            if leader != self._leader:
                self._is_short = False
                self._unsent = dict.fromkeys(self._entries)
                self._forwarded.clear()
        self._leader = leader
        if leader is None or not self._unsent:
            return
        keys = list(self._unsent)
        self._unsent.clear()
        if coordinator is not None and leader[0] != self._peer and not self._is_short:
            again = [key for key in keys if self._is_direct(key)]
            first = [key for key in keys if not self._is_direct(key)]
            self._send_all(again, leader[0], now)
            self._send_all(first, coordinator, now, is_relayed=True)
        else:
            self._send_all(keys, leader[0], now)

    def _is_direct(self, key: Key) -> bool:
        """Whether it goes to the leader itself: given before, or not to be passed on."""
        entry = self._entries[key]
        return entry.given_count > 0 or isinstance(entry.command, SetKeys)

    def tick(self, now: float) -> None:
        """Send again what stays unanswered; fail what has reached its deadline."""
        while self._forwarded:
            key = next(iter(self._forwarded))
            if self._forwarded[key] > now:
                break
            del self._forwarded[key]
            self._unsent[key] = None
        for key in self._deadlines.take_due(now):
            self._fail(key, "no answer before the deadline")
        since = self._leaderless_since
        if since is not None and now - since >= self._timing.no_quorum_seconds:
            for key in list(self._entries):
                self._fail(key, f"nobody has led for {now - since:.1f} s")

    def next_deadline(self) -> float:
        due = self._deadlines.next()
        if self._forwarded:
            due = min(due, next(iter(self._forwarded.values())))
        if self._leaderless_since is not None and self._entries:
            due = min(due, self._leaderless_since + self._timing.no_quorum_seconds)
        return due

    def receive_refused(self, source: PeerId, message: ForwardRefused) -> None:
        """A forward was not taken, by the leader, or by way of a coordinator: certainly not done,
        unless it was sent before."""
        target, is_relayed, keys = self._forwards.get(message.number, ("", False, []))
        if target != source:
            return
        del self._forwards[message.number]
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or self._leader is None:
                continue
            if not is_relayed and self._leader[0] != source:
                continue
            self._is_short |= message.reason == DISK_FULL
            is_last = entry.forward_number == message.number
            why = _NOT_DONE.get(message.reason)
            if why is not None and is_last and entry.given_count == 1:
                self._outbox.resolve(entry.token, Failed(message.reason, why))
                self._drop(key)
            elif is_relayed and is_last and self._forwarded.pop(key, None) is not None:
                self._unsent[key] = None

    # ---- sending -----------------------------------------------------------------------------

    def _send_all(
        self, keys: list[Key], target: PeerId, now: float, *, is_relayed: bool = False
    ) -> None:
        size = min(CHUNK_COMMANDS, self._limits.batch_commands_max)
        parts = [keys]
        if self._is_short:
            upkeep = [key for key in keys if isinstance(self._entries[key].command, UPKEEP)]
            apart = dict.fromkeys(upkeep)
            parts = [upkeep, [key for key in keys if key not in apart]]
        for part in parts:
            for start in range(0, len(part), size):
                self._send(part[start : start + size], target, is_relayed, now)

    def _send(self, keys: list[Key], target: PeerId, is_relayed: bool, now: float) -> None:
        """Give commands to the leader, or to the coordinator for it. One that no peer would read is
        refused by itself."""
        try:
            blob = self._encode([self._entries[key].command for key in keys])
            refusal = None
        except InvalidValue as error:
            blob, refusal = b"", Refused("invalid", str(error))
        if len(blob) > self._limits.batch_bytes_max:
            text = f"{len(blob)} bytes encoded; at most {self._limits.batch_bytes_max}"
            refusal = Refused("too_large", text)
        if refusal is not None and len(keys) == 1:
            self._outbox.resolve(self._entries[keys[0]].token, refusal)
            self._drop(keys[0])
        elif refusal is not None:
            middle = len(keys) // 2
            self._send(keys[:middle], target, is_relayed, now)
            self._send(keys[middle:], target, is_relayed, now)
        elif target == self._peer and not is_relayed:
            self._propose_here(keys, blob, now)
        else:
            self._forward(keys, blob, target, is_relayed, now)

    def _propose_here(self, keys: list[Key], blob: bytes, now: float) -> None:
        if self._propose(len(keys), blob):
            for key in keys:
                self._entries[key].given_count += 1
            return
        for key in keys:
            entry = self._entries[key]
            if not entry.given_count:
                reason = self._refusal()
                reason = reason if reason in _NOT_DONE else "overloaded"
                self._is_short |= reason == DISK_FULL
                self._outbox.resolve(entry.token, Failed(reason, _NOT_DONE[reason]))
                self._drop(key)
            else:
                self._forwarded[key] = now + self._timing.forward_timeout_seconds

    def _forward(
        self, keys: list[Key], blob: bytes, target: PeerId, is_relayed: bool, now: float
    ) -> None:
        self._forward_number += 1
        number, count = self._forward_number, len(keys)
        self._forwards[number] = target, is_relayed, keys
        self._forwards.pop(number - FORWARDS_REMEMBERED, None)
        first = self._timing.forward_timeout_seconds
        for key in keys:
            entry = self._entries[key]
            entry.interval = min(entry.interval * 2, INTERVAL_GROWTH_MAX * first) or first
            entry.given_count += 1
            entry.forward_number = number
            self._forwarded[key] = now + entry.interval
        if not is_relayed:
            self._outbox.send(target, Forward(self._log_id, number, count, blob))
        elif target == self._peer:
            self._gather(number, count, blob)
        else:
            self._outbox.send(target, Relay(self._log_id, number, count, blob))

    def _fail(self, key: Key, why: str) -> None:
        entry = self._entries[key]
        reason = "unknown" if entry.given_count else "no_quorum"
        self._outbox.resolve(entry.token, Failed(reason, why))
        self._drop(key)

    def _drop(self, key: Key) -> None:
        self._keys.pop(self._entries.pop(key).token, None)
        self._unsent.pop(key, None)
        self._forwarded.pop(key, None)
        self._deadlines.drop(key)


_NOT_DONE = {
    "overloaded": "the leader holds as much uncommitted as it may: try again later",
    DISK_FULL: "the data folder of the leader is nine tenths full",
}
"""Why a leader takes no commands that are certainly not done then."""
SNAPSHOT_TOOK_ENTRIES = "a snapshot took the place of the entries that could have told"
