"""What is said in letters."""

from msgspec import Struct

from mabeam_p2p.ids import AgentId


class MailAnswer(Struct, frozen=True, gc=False, array_like=True):
    """What an agent says to a letter that asks."""

    agent: AgentId
    value: bytes
    """Encoded; empty if there is an error."""
    error: str
    """Why there is no answer; empty if there is one."""
