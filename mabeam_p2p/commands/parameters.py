"""What is said of parameters beside the ballots that set them."""

from mabeam_p2p.commands.base import SessionCommand


class ParameterCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of parameters."""


class DeclareParameter(ParameterCommand, frozen=True, gc=False, array_like=True, tag=15):
    """Which values the parameter may have. The first declaration binds."""

    parameter: str
    schema: bytes
    """An encoded map (api/schemas.py); the machine does not look into it."""


class ConfirmParameter(ParameterCommand, frozen=True, gc=False, array_like=True, tag=16):
    """The agent has put a guarded version into effect, or could not."""

    parameter: str
    version: int
    applied: bool
    detail: str


AnyParameterCommand = DeclareParameter | ConfirmParameter
