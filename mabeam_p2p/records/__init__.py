"""Facts that are stored, sent and shown alike. Frozen, without behaviour beyond what follows from
their own fields. One file for each family.

Encoded everywhere as arrays in the order of the fields: fields are only ever appended, with a
default.
"""

from mabeam_p2p.records.agreed import (
    Agent,
    BarrierStatus,
    Choice,
    Generation,
    Journal,
    OnDeparture,
    Parameter,
    ParameterSchema,
    Policy,
    Proposal,
    ProposalStatus,
    Vote,
)
from mabeam_p2p.records.ledger import (
    Account,
    Budget,
    BudgetChange,
    Currency,
    Deal,
    Hold,
    Movement,
    MovementKind,
    Rating,
    Reputation,
    Reservation,
)
from mabeam_p2p.records.members import (
    Member,
    MemberState,
    Standing,
    Status,
)
from mabeam_p2p.records.stored import (
    RESOLVERS,
    Batch,
    BootstrapState,
    HardState,
    KnownAddresses,
    LogAppend,
    Record,
    Recovered,
    Sibling,
    Variable,
)

__all__ = [
    "RESOLVERS",
    "Account",
    "Agent",
    "BarrierStatus",
    "Batch",
    "BootstrapState",
    "Budget",
    "BudgetChange",
    "Choice",
    "Currency",
    "Deal",
    "Generation",
    "HardState",
    "Hold",
    "Journal",
    "KnownAddresses",
    "LogAppend",
    "Member",
    "MemberState",
    "Movement",
    "MovementKind",
    "OnDeparture",
    "Parameter",
    "ParameterSchema",
    "Policy",
    "Proposal",
    "ProposalStatus",
    "Rating",
    "Record",
    "Recovered",
    "Reputation",
    "Reservation",
    "Sibling",
    "Standing",
    "Status",
    "Variable",
    "Vote",
]
