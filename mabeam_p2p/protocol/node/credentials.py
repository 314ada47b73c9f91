"""Where the keys that the log knows meet the links and the leader's duties."""

from mabeam_p2p.commands import Admit
from mabeam_p2p.ids import PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.admission import Admission
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Credentials


class Keys:
    """As one peer sees them."""

    def __init__(self, links: Links, membership: Membership, machine: Machine) -> None:
        self._links = links
        self._membership = membership
        self._machine = machine
        self._admission = Admission()
        self._carried: Credentials | None = None

    @property
    def credentials(self) -> Credentials:
        """As of the last applied entry: another object after each change."""
        return self._machine.admissions.credentials

    def introduced(self, peer: PeerId, key: bytes) -> None:
        self._admission.introduced(peer, key)

    def admissions(self, now: float) -> tuple[Admit, ...]:
        """What a leader owes to those that have proved themselves to it."""
        return self._admission.commands(self.credentials, self._membership.view(), now)

    def carry(self) -> None:
        """At the end of a turn: who was revoked is heard no more."""
        credentials = self.credentials
        if credentials is not self._carried:
            self._carried = credentials
            self._links.revoke(tuple(one.peer for one in credentials.revoked))
