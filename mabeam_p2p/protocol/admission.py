"""Who has proved the join secret to this peer, and whom its leader therefore admits.

What a peer has proved is known where it was proved, and a leader is introduced to every member, as
it speaks to all of them. So each leader judges from what it knows itself; a second entry for the
same peer has no effect.
"""

from mabeam_p2p.commands import Admit
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.records import Credentials, Member, MemberState

INTRODUCED_MAX = 4_096
"""Of more, who was introduced first gives way."""
AGAIN_SECONDS = 1.0
"""An admission that has not come about is proposed again after this."""
ADMITTED_AT_ONCE_MAX = 64


class Admission:
    """Of one peer; without introductions it wants nothing."""

    def __init__(self) -> None:
        self._introduced: dict[PeerId, bytes] = {}
        self._proposed: dict[PeerId, float] = {}

    def introduced(self, peer: PeerId, key: bytes) -> None:
        """key: empty: what it has proved counts no more."""
        self._introduced.pop(peer, None)
        self._proposed.pop(peer, None)
        if not key:
            return
        self._introduced[peer] = key
        if len(self._introduced) > INTRODUCED_MAX:
            gone = next(iter(self._introduced))
            del self._introduced[gone]
            self._proposed.pop(gone, None)

    def commands(
        self, credentials: Credentials, members: tuple[Member, ...], now: float
    ) -> tuple[Admit, ...]:
        """What a leader appends: members that have proved themselves and are not admitted."""
        if not self._introduced:
            return ()
        known = dict.fromkeys(one.peer for one in credentials.admitted)
        known.update(dict.fromkeys(one.peer for one in credentials.revoked))
        wanted: list[Admit] = []
        for member in members:
            peer = member.peer
            key = self._introduced.get(peer)
            if key is None or peer in known or member.state > MemberState.SUSPECT:
                continue
            if now - self._proposed.get(peer, -AGAIN_SECONDS) < AGAIN_SECONDS:
                continue
            if len(wanted) == ADMITTED_AT_ONCE_MAX:
                break
            self._proposed[peer] = now
            wanted.append(Admit(CLUSTER_SESSION, 0, peer, key))
        return tuple(wanted)


def has_another_key(before: Credentials, after: Credentials) -> bool:
    """Whether a peer that was admitted before has a key that it had not."""
    known = {one.peer: one.keys for one in before.admitted}
    return any(
        key not in known[one.peer]
        for one in after.admitted
        if one.peer in known
        for key in one.keys
    )
