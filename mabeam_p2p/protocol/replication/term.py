"""The term and the vote of one peer: Raft's hard state (Raft figure 2, persistent state).

They are one record, and durable before any message that depends on them leaves: such a message is
sent behind the Persist that `persist` names.
"""

from mabeam_p2p.ids import NOBODY, PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import HardState, Recovered


class Term:
    """The current term, and whom this peer has voted for in it."""

    __slots__ = ("_log_id", "_outbox", "number", "persist", "vote")

    def __init__(
        self, hard_state: HardState | None, last_term: int, log_id: int, outbox: Outbox
    ) -> None:
        """last_term: of the log, which may have been stored when the hard state was not."""
        self.number = max(hard_state.term if hard_state else 0, last_term)
        self.vote = hard_state.vote if hard_state and hard_state.term == self.number else NOBODY
        self.persist = 0
        """The Persist that made this term and vote durable."""
        self._log_id = log_id
        self._outbox = outbox

    def set(self, number: int, vote: PeerId = NOBODY) -> None:
        """Go on to a later term, or give the vote of this one."""
        assert number >= self.number, "the term goes back"
        assert number > self.number or self.vote in (NOBODY, vote), "a second vote in one term"
        self.number = number
        self.vote = vote
        self.persist = self._outbox.persist(HardState(self._log_id, number, vote))


def hard_state_of(recovered: Recovered, log_id: int) -> HardState | None:
    """The last one that was stored."""
    states = [state for state in recovered.hard_states if state.log == log_id]
    return states[-1] if states else None
