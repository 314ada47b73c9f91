"""What two releases can do together: decided when they greet, from what each says of itself.

Rules
1. Two peers speak the latest version of frames that both speak; without one they refuse each other.
   Greetings travel in the earliest that the speaker knows: who knows none of the speaker's still
   reads who it is, and says why it will not talk.
2. A peer is sent nothing that its release does not know (MESSAGES_SINCE).
3. Who cannot apply the log of a formed cluster, or would by other limits, is refused for good: the
   cluster does not go back for one peer. Before there is a log, peers of different limits do not
   begin one.
"""

from collections.abc import Iterable

from mabeam_p2p.config import MACHINE_VERSION, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Config
from mabeam_p2p.limits import WITH_LIMITS, rules_of
from mabeam_p2p.messages import Frame, Hello, Message, Refuse
from mabeam_p2p.records import Able

MESSAGES_SINCE: dict[type[Message], int] = {}
"""The version of frames in which a message came; all others are of the first one."""


def able_of(config: Config) -> Able:
    """What this release can do, with these settings."""
    return Able(
        PROTOCOL_VERSION_MIN,
        PROTOCOL_VERSION,
        min(config.machine_version_max, MACHINE_VERSION),
        rules_of(config.limits),
    )


def speaks(able: Able, version: int) -> bool:
    """Whether a release takes frames of that version."""
    return able.protocol_min <= version <= able.protocol_max


def common_protocol(mine: Able, frame: Frame, theirs: Able) -> int:
    """The version of frames that two peers speak with each other; 0: there is none. frame: the one
    that `theirs` came in."""
    if not speaks(theirs, frame.version):
        # Of a release that says nothing of itself.
        theirs = Able(frame.version, frame.version)
    version = min(mine.protocol_max, theirs.protocol_max)
    return version if version >= max(mine.protocol_min, theirs.protocol_min) else 0


def other_protocol(mine: Able, frame: Frame, theirs: Able | None = None) -> str:
    """Why two peers have no version of frames in common, in words."""
    said = frame.version if theirs is None else theirs.protocol_max
    return f"speaks protocol {max(frame.version, said)}, this peer {mine.protocol_max}"


def objection_to(hello: Hello, mine: Able, machine_version: int, *, has_log: bool) -> Refuse | None:
    """What stands against a peer's taking part (rule 3). machine_version: by which the log of this
    peer is applied. has_log: whether this peer is of a formed cluster."""
    theirs = hello.able
    if theirs.machine < machine_version:
        return Refuse(
            "machine",
            f"applies logs up to machine version {theirs.machine}, and this one is of version "
            f"{machine_version}",
            final=True,
        )
    differ = mine.rules != theirs.rules and 0 not in (mine.rules, theirs.rules)
    if has_log and machine_version >= WITH_LIMITS and differ:
        return Refuse(
            "limits", "has other limits than those that the log is applied by", final=True
        )
    if not has_log and not hello.cluster_id and differ:
        return Refuse("limits", "has other limits than this peer: a cluster needs the same")
    return None


def common_machine(mine: Able, others: Iterable[Able | None]) -> tuple[int, int]:
    """The machine version by which this peer and all others can apply a log, and what that says of
    the limits. None: what a peer can is not known, and nobody is to be left behind. With one whose
    limits are others, it has to be a version that says nothing of them."""
    version = mine.machine
    for other in others:
        if other is None:
            return 1, 0
        version = min(version, other.machine)
        if other.rules != mine.rules:
            version = min(version, WITH_LIMITS - 1)
    return version, mine.rules if version >= WITH_LIMITS else 0


def understood(messages: tuple[Message, ...], version: int) -> tuple[Message, ...]:
    """Those that a peer takes to which frames of `version` are sent (rule 2)."""
    if not MESSAGES_SINCE:
        return messages
    return tuple(one for one in messages if MESSAGES_SINCE.get(type(one), 1) <= version)
