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
    "Agent",
    "BarrierStatus",
    "Batch",
    "BootstrapState",
    "Choice",
    "Generation",
    "HardState",
    "Journal",
    "KnownAddresses",
    "LogAppend",
    "Member",
    "MemberState",
    "OnDeparture",
    "Parameter",
    "ParameterSchema",
    "Policy",
    "Proposal",
    "ProposalStatus",
    "Record",
    "Recovered",
    "Sibling",
    "Standing",
    "Status",
    "Variable",
    "Vote",
]
