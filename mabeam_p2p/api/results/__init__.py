"""What the API gives back: frozen objects that print well and become plain data by `to_dict()`.

Made here from records, and nowhere else. `when`, `deadline` and `decided` are seconds by the log's
clock, which counts from the cluster's beginning while somebody leads: for durations, not for order.
"""

from mabeam_p2p.api.results.ballots import (
    CHOICES,
    CONFIDENCE_STEPS,
    Applied,
    ChoiceWord,
    Decision,
    Proposal,
    RecordedVote,
    StatusWord,
    TypeWord,
    ValueSchema,
    Vote,
)
from mabeam_p2p.api.results.base import (
    MICROSECONDS,
    Decoded,
    Level,
    Result,
    decoded,
    plain,
    seconds,
)
from mabeam_p2p.api.results.evidence import PeerEvidence
from mabeam_p2p.api.results.meeting import (
    Release,
)
from mabeam_p2p.api.results.members import (
    AgentFacts,
    Event,
    Info,
    Leader,
    Member,
    PeerStatus,
)
from mabeam_p2p.api.results.values import (
    Acknowledgement,
    Change,
    JournalItem,
    Reading,
    parameter_reading,
)

__all__ = [
    "CHOICES",
    "CONFIDENCE_STEPS",
    "MICROSECONDS",
    "Acknowledgement",
    "AgentFacts",
    "Applied",
    "Change",
    "ChoiceWord",
    "Decision",
    "Decoded",
    "Event",
    "Info",
    "JournalItem",
    "Leader",
    "Level",
    "Member",
    "PeerEvidence",
    "PeerStatus",
    "Proposal",
    "Reading",
    "RecordedVote",
    "Release",
    "Result",
    "StatusWord",
    "TypeWord",
    "ValueSchema",
    "Vote",
    "decoded",
    "parameter_reading",
    "plain",
    "seconds",
]
