"""Where the keys that the log knows meet the links and the leader's duties."""

from mabeam_p2p.commands import Admit, ClusterCommand, CommandCodec, OpenSession, SetKeys
from mabeam_p2p.ids import PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.messages import Forward, Relay, Relayed
from mabeam_p2p.protocol.admission import Admission
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Credentials


class Keys:
    """As one peer sees them."""

    def __init__(
        self, links: Links, membership: Membership, machine: Machine, codec: CommandCodec
    ) -> None:
        self._links = links
        self._membership = membership
        self._machine = machine
        self._codec = codec
        self._admission = Admission()
        self._carried: Credentials | None = None

    @property
    def credentials(self) -> Credentials:
        """As of the last applied entry: another object after each change."""
        return self._machine.admissions.credentials

    def introduced(self, peer: PeerId, key: bytes) -> None:
        self._admission.introduced(peer, key)

    def may_propose(self, source: PeerId, message: Forward | Relay | Relayed, now: float) -> bool:
        """Whether its commands are taken from this peer, by a leader, or to be passed on to one.
        What the log says of the cluster is the leader's to propose: it stops who cannot follow, or
        lets somebody in. Agents are opened, and spoken for, by the peer that hosts them (a
        coordinator is believed that it has looked), and the keys of a peer are changed by itself,
        directly."""
        for command in self._codec.decode_commands(message.count, message.blob):
            match command:
                case ClusterCommand():
                    is_its_own = False
                case OpenSession():
                    is_its_own = isinstance(message, Relayed) or command.peer == source
                case SetKeys():
                    is_its_own = isinstance(message, Forward) and command.peer == source
                case _:
                    agent = self._machine.agent_in(command.session)
                    is_its_own = agent is None or agent.peer == source
                    is_its_own |= isinstance(message, Relayed)
            if not is_its_own:
                self._links.drop(source, "impostor", f"proposes a {type(command).__name__}", now)
                return False
        return True

    def admissions(self, now: float) -> tuple[Admit, ...]:
        """What a leader owes to those that have proved themselves to it."""
        return self._admission.commands(self.credentials, self._membership.view(), now)

    def carry(self) -> None:
        """At the end of a turn: who was revoked is heard no more."""
        credentials = self.credentials
        if credentials is not self._carried:
            self._carried = credentials
            self._links.revoke(tuple(one.peer for one in credentials.revoked))
