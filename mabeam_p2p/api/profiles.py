"""What an agent tells of itself when it joins, as a caller gives it."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from mabeam_p2p.api.leases import lease_microseconds
from mabeam_p2p.errors import InvalidName
from mabeam_p2p.ids import check_name


class Profile(Struct, frozen=True):
    """What an agent tells of itself when it joins."""

    name: str
    groups: tuple[str, ...] = ()
    participates: bool = True
    eligible: bool = True
    capabilities: tuple[tuple[str, int], ...] = ()
    lease: int = 0
    """Microseconds; 0: none."""
    yields: bool = False
    """It holds a seat only while no other agent can."""


def profile_of(
    name: str,
    groups: Iterable[str],
    capabilities: Mapping[str, int] | None,
    participates: bool,
    eligible: bool,
    lease: float | None = None,
) -> Profile:
    """lease: seconds, None for none. Raises InvalidName, InvalidValue."""
    check_name(name, "agent's name")
    if isinstance(groups, str):
        raise InvalidName(f"groups {groups!r} is one text: give a list, as [{groups!r}]")
    unique = tuple(dict.fromkeys(check_name(group, "group") for group in groups))
    amounts = tuple(sorted((capabilities or {}).items()))
    for capability, _ in amounts:
        check_name(capability, "capability")
    return Profile(name, unique, participates, eligible, amounts, lease_microseconds(lease))
