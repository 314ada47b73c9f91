"""The words that name things: peers, agents, sessions, proposals. Checked here and nowhere else."""

import re
from typing import NewType

from mabeam_p2p.errors import InvalidName

PeerId = NewType("PeerId", str)
"""Identity of a peer for the life of its data folder: 16 lower-case hexadecimal digits."""

NOBODY = PeerId("")
"""Where a peer is named, and there is none."""

AgentId = NewType("AgentId", str)
"""Identity of an agent: `name@peer-name`. Unique in the cluster while its session lives."""

SessionId = NewType("SessionId", int)
"""Identity of one attachment of an agent: a random integer in 1..2^53-1. 0 is the cluster."""

ProposalId = NewType("ProposalId", str)
"""Identity of a proposal, made by the proposer, so that a retry is the same proposal."""

TaskId = NewType("TaskId", str)
"""Identity of a task, made by its submitter, so that a retry is the same task."""

AuctionId = NewType("AuctionId", str)
"""Identity of an auction, made by the auctioneer, so that a retry is the same auction."""

ClusterId = NewType("ClusterId", str)
"""Identity of a formed cluster: 32 hexadecimal digits, or empty before it has formed."""

CLUSTER_SESSION = SessionId(0)
"""The session of commands that the leader itself writes; they are not deduplicated."""

GROUP_ALL = "all"
"""The group that holds every agent, whatever groups it names itself."""

INTEGER_MAX = 2**53 - 1
"""Largest term, index, epoch or session on the wire: what a double and JSON hold exactly."""

NAME_LENGTH_MAX = 64
KEY_BYTES_MAX = 256
PEER_ID_LENGTH = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PEER_ID = re.compile(r"[0-9a-f]{16}")


def is_name(text: str) -> bool:
    """Whether `text` can name a peer, agent, group or cluster."""
    return _NAME.fullmatch(text) is not None


def is_peer_id(text: str) -> bool:
    return _PEER_ID.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Whether `text` can name a parameter, variable, barrier or journal."""
    return bool(text) and text.isprintable() and len(text.encode()) <= KEY_BYTES_MAX


def is_agent_id(text: str) -> bool:
    """Whether `text` can be the id of an agent."""
    name, _, peer_name = text.partition("@")
    return is_name(name) and is_name(peer_name)


def is_account(text: str) -> bool:
    """Whether `text` can name an account of the ledger: an agent's id, or, without an @, NAME or
    GROUP:NAME."""
    if "@" in text:
        return is_agent_id(text)
    group, colon, name = text.partition(":")
    return is_key(text) and (not colon or (is_name(group) and group != GROUP_ALL and bool(name)))


def account_group(account: str) -> str:
    """The group of an account that is no agent's; empty: every agent's."""
    group, colon, _ = account.partition(":")
    return group if colon else ""


def check_name(text: str, what: str = "name") -> str:
    """Return `text`, or raise InvalidName. `what` says whose name it is."""
    if not is_name(text):
        raise InvalidName(
            f"{what} {text!r} is not usable: take 1 to {NAME_LENGTH_MAX} letters, digits, "
            "'.', '_' or '-', the first a letter or digit"
        )
    return text


def check_key(text: str, what: str = "name") -> str:
    """Return `text`, or raise InvalidName. Keys may hold any printable text, as `model/lr`."""
    if not is_key(text):
        raise InvalidName(
            f"{what} {text!r} is not usable: take 1 to {KEY_BYTES_MAX} bytes of printable text"
        )
    return text


def agent_id(name: str, peer_name: str) -> AgentId:
    return AgentId(f"{name}@{peer_name}")


def scoped(group: str, name: str) -> str:
    """What `name` of `group` is called in the log: GROUP:NAME, or NAME in the group of all. A group
    has no colon in its name, so that the first one ends it."""
    return name if group == GROUP_ALL else f"{group}:{name}"


def unscoped(group: str, name: str) -> str:
    """What `name` in the log is called in `group`."""
    return name.removeprefix("" if group == GROUP_ALL else f"{group}:")
