"""What is to be told on: rumours, each passed on a number of times, the freshest first (SWIM §4.1).

One rumour for each member, and besides it one for each independent accuser of a suspect. A newer
record of a member silences all that was said of it before.
"""

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Rumour

Key = tuple[PeerId, PeerId | None]

RETRANSMISSIONS = 4
"""SWIM's lambda: times the digits of the cluster's size, which is log10(n + 1) rounded up."""


def transmissions(members: int) -> int:
    """How often each rumour is passed on by each peer of a cluster of so many."""
    return RETRANSMISSIONS * len(str(members))


class Rumours:
    """Bounded: when it is full, what has been told most often makes room."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._count = 0
        self._buckets: list[dict[Key, Rumour]] = []
        """By the number of times that it was told."""
        self._places: dict[PeerId, dict[Key, int]] = {}
        """In which bucket each rumour of a member is."""

    def __len__(self) -> int:
        return self._count

    def spread(self, rumour: Rumour) -> None:
        """Tell it, and nothing older of the same member."""
        peer = rumour.member.peer
        self.silence(peer)
        self._put(0, (peer, None), rumour)

    def confirm(self, rumour: Rumour) -> None:
        """Tell besides who else accuses it."""
        key = rumour.member.peer, rumour.accuser
        if key not in self._places.get(rumour.member.peer, ()):
            self._put(0, key, rumour)

    def silence(self, peer: PeerId) -> None:
        for key, told in self._places.pop(peer, {}).items():
            del self._buckets[told][key]
            self._count -= 1

    def take(self, count: int, times: int) -> list[Rumour]:
        """At most `count` to tell now, those told least first, and of them the newest; each is told
        `times` in all."""
        chosen: list[tuple[int, Key]] = []
        for told, bucket in enumerate(self._buckets):
            for key in reversed(bucket):
                if len(chosen) == count:
                    break
                chosen.append((told, key))
        return [self._told(told, key, times) for told, key in chosen]

    def _told(self, told: int, key: Key, times: int) -> Rumour:
        rumour = self._remove(told, key)
        if told + 1 < times:
            self._put(told + 1, key, rumour)
        return rumour

    def _remove(self, told: int, key: Key) -> Rumour:
        places = self._places[key[0]]
        del places[key]
        if not places:
            del self._places[key[0]]
        self._count -= 1
        return self._buckets[told].pop(key)

    def _put(self, told: int, key: Key, rumour: Rumour) -> None:
        while len(self._buckets) <= told:
            self._buckets.append({})
        if self._count >= self._count_max:
            most = max(place for place, bucket in enumerate(self._buckets) if bucket)
            self._remove(most, next(iter(self._buckets[most])))
        self._buckets[told][key] = rumour
        self._places.setdefault(key[0], {})[key] = told
        self._count += 1
