"""Optuna's journal in the replicated log: one order of logs for all peers, and none is ever lost.

1. The log is a chain of journals NAME/0, NAME/1, … of SEGMENT_ITEMS each, which keep every item and
   refuse more when full. Who is refused goes on in the next one; the next one begins only when the
   one before it is full, and a full one never changes. So everybody reads the same order.
2. A read begins where the last one ended, and is linearizable.
3. A change of leader is waited for: what was certainly not done is tried again, and so is what may
   have been done, which counts once however often it stands there (`items`).
"""

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from optuna.storages.journal import BaseJournalBackend

from mabeam_p2p import AgentFacts
from mabeam_p2p.blocking import Agent
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    JournalFull,
    MabeamError,
    MabeamTimeout,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
)
from mabeam_p2p.integrations.optuna.items import Assembler, Author, Item, Log, packed
from mabeam_p2p.integrations.optuna.owners import Owners

T = TypeVar("T")

SEGMENT_ITEMS = 1_024
"""Items in one journal of the chain. Everybody must say the same, so it is no setting."""

SEGMENTS_MAX = 4_096
"""As many journals as there can be in a cluster, `Limits.journals_max`."""

TIMEOUT_SECONDS = 30.0
"""How long a change of leader, or a peer that is away, is waited for."""

PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 1.0
"""Before something is tried again, doubling from the first to the second."""

_PASSING = (NoQuorum, Overloaded, MabeamTimeout, OutcomeUnknown, DaemonNotRunning)
"""What may be better a moment later."""

_agents: weakref.WeakValueDictionary[str, Agent] = weakref.WeakValueDictionary()
"""The agents of this process by a token that only this process knows. A forked child has none: the
threads that carry them stay with the parent."""
os.register_at_fork(after_in_child=_agents.clear)


class JournalBackend(BaseJournalBackend):
    """For `optuna.storages.JournalStorage`; `Storage` joins the two. Threads may share one."""

    def __init__(
        self, agent: Agent, name: str = "optuna", *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """agent: of `mabeam_p2p.blocking`; it must live as long as the backend. name: of the
        journals that hold the studies; peers with the same one share them. timeout: seconds.

        Raises TypeError for another agent, InvalidName, and NoQuorum if the log cannot be reached.
        """
        if not isinstance(agent, Agent):
            raise TypeError(
                f"{agent!r} is no agent of mabeam_p2p.blocking, and Optuna can wait for no other: "
                "take one from `mabeam_p2p.blocking.join` or `connect`"
            )
        # The longest name of the chain, so that a wrong one is told now.
        agent.journal(f"{name}/{SEGMENTS_MAX}", capacity=SEGMENT_ITEMS)
        self.name = name
        self.timeout = timeout
        self._token = secrets.token_hex(16)
        _agents[self._token] = agent
        self._begin(agent)

    def _begin(self, agent: Agent) -> None:
        self._agent = agent
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._writer = secrets.token_hex(8)
        self._number = 0
        self._joined_index = 0
        self._rewind()
        self._author()

    def __getstate__(self) -> dict[str, object]:
        return {"name": self.name, "timeout": self.timeout, "token": self._token}

    def __setstate__(self, state: dict[str, object]) -> None:
        # What was written by another process cannot stand in for an agent here.
        agent = _agents.get(str(state["token"]))
        if agent is None:
            raise Closed(
                "the storage comes from another process, or its agent is gone: an agent does not "
                "travel; join in this process, and make a Storage with that agent"
            )
        self.name, self.timeout = str(state["name"]), float(str(state["timeout"]))
        self._token = str(state["token"])
        self._begin(agent)

    # ---- what Optuna calls -------------------------------------------------------------------

    def append_logs(self, logs: list[Log]) -> None:
        """Append these together, visible together. Returns when a majority has them on disk.

        Raises InvalidValue (too large), NoQuorum (certainly not done), OutcomeUnknown (maybe).
        """
        self._check_process()
        with self._lock:
            items = packed(self._author(), self._writer, self._number + 1, logs)
            self._number += 1
            for item in items:
                self._append(item)

    def read_logs(self, log_number_from: int) -> list[Log]:
        """The logs from that number on, counted from 0; what is new costs, not what was before.

        Raises NoQuorum, and InvalidValue if something else stands in the journal.
        """
        self._check_process()
        with self._lock:
            if log_number_from < self._first:
                self._rewind()
            self._follow()
            # Kept until the next call: one whose log was refused begins again behind that log.
            behind = min(log_number_from - self._first, len(self._kept))
            del self._kept[:behind]
            self._first += behind
            return self._kept[log_number_from - self._first :]

    # ---- who runs what -----------------------------------------------------------------------

    def trials_left(self, study: int) -> list[int]:
        """Running trials of `study` whose agents' sessions have ended, by the log."""
        self._check_process()
        with self._lock:
            self._follow()
            seen = _authors(self._agent.group("all").agents())
            if not self._owners.left_by(study, seen):
                return []
            # Asked after the logs were read: whoever wrote one of them had joined by then, whether
            # that has reached this agent's own view or not.
            live = self._patiently("asking who is there", self._agent.group("all").read_agents)
            return self._owners.left_by(study, _authors(live))

    def _author(self) -> Author:
        """This agent in its present session, as far as it has been told."""
        group = self._agent.group("all")
        mine = [one for one in group.agents() if one.id == self._agent.id]
        if not mine and not self._joined_index:
            live = self._patiently("asking who is there", group.read_agents)
            mine = [one for one in live if one.id == self._agent.id]
        for one in mine:
            self._joined_index = one.joined_index
        return Author(self._agent.id, self._joined_index)

    # ---- the chain of journals ---------------------------------------------------------------

    def _rewind(self) -> None:
        """Read from the beginning again."""
        self._assembler = Assembler()
        self._owners = Owners()
        self._segment = 0
        self._position = 1
        """Where the next read begins."""
        self._first = 0
        self._kept: list[Log] = []
        """Logs that were read, from number `_first` on."""

    def _follow(self) -> None:
        """Read all that is new."""
        while True:
            name = f"{self.name}/{self._segment}"
            journal = self._agent.journal(name, capacity=SEGMENT_ITEMS)
            for item in self._patiently("reading", partial(journal.read, self._position)):
                where = f"item {item.position} of journal {name!r}"
                for author, log in self._assembler.take(item.value, where):
                    self._owners.take(author, log)
                    self._kept.append(log)
                self._position = item.position + 1
            if self._position <= SEGMENT_ITEMS:
                return
            self._segment += 1
            self._position = 1

    def _append(self, item: Item) -> None:
        segment = self._segment
        while True:
            journal = self._agent.journal(f"{self.name}/{segment}", capacity=SEGMENT_ITEMS)
            try:
                self._patiently("appending", partial(journal.append, item.value()))
            except JournalFull:
                segment += 1
            else:
                return

    def _patiently(self, what: str, ask: Callable[..., T]) -> T:
        """The answer, once there is one; after `timeout` the error that leaves the most open.

        ask: takes `timeout`, in seconds.
        """
        deadline = time.monotonic() + self.timeout
        pause = PAUSE_SECONDS
        unknown: MabeamError | None = None
        while True:
            try:
                return ask(timeout=max(0.0, deadline - time.monotonic()))
            except _PASSING as error:
                if isinstance(error, OutcomeUnknown):
                    unknown = error
                if time.monotonic() + pause > deadline:
                    last = unknown or error
                    last.add_note(f"{what}, for Optuna's logs {self.name!r}: {self.timeout:g} s")
                    raise last from None
            time.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise Closed(
                f"the storage was made in process {self._process}, and an agent does not survive "
                "a fork: join in this process, and make a Storage with that agent"
            )


def _authors(agents: Iterable[AgentFacts]) -> dict[Author, None]:
    return {Author(one.id, one.joined_index): None for one in agents}
