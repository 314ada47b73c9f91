"""Whom to ask next, who has not answered, and what is asked for others.

Members are asked in a shuffled round, in which newcomers get a random place: each is asked once a
round, so that the time until a failure is noticed is bounded (SWIM §4.3). Questions are numbered;
an answer counts once, and only for a question that was put to whoever answers.
"""

from collections.abc import Callable
from random import Random

from mabeam_p2p.ids import PeerId

QUESTIONS_MAX = 64
"""Unanswered questions to one member that are remembered; then the oldest but one is forgotten."""

ERRANDS_MAX = 64
"""Probes for others that are under way; more are not taken on."""


class Asked:
    """A member that has not answered yet."""

    __slots__ = ("nacks", "questions", "relays")

    def __init__(self) -> None:
        self.questions: list[tuple[int, float]] = []
        """Number and time of each, oldest first."""
        self.relays: tuple[PeerId, ...] | None = None
        """Who was asked to ask it, once that was done."""
        self.nacks: dict[PeerId, None] = {}
        """Which of those had no answer either, but said so."""

    @property
    def since(self) -> float:
        return self.questions[0][1]

    @property
    def missed_nack(self) -> bool:
        """Whether somebody who should have told of its vain probe did not, or nobody seemed well
        enough to be asked: then it is rather this peer that is not."""
        relays = self.relays
        return relays is not None and (not relays or len(self.nacks) < len(relays))


class Errand:
    """A probe for another peer."""

    __slots__ = ("due", "number", "requester", "target")

    def __init__(self, requester: PeerId, number: int, target: PeerId, due: float) -> None:
        self.requester = requester
        self.number = number
        """The requester's."""
        self.target = target
        self.due = due


class Probing:
    """The round, the questions and the errands of one peer."""

    def __init__(self, random: Random) -> None:
        self.asked: dict[PeerId, Asked] = {}
        self.errands: dict[int, Errand] = {}
        self._random = random
        self._round: list[PeerId] = []
        self._place = 0
        self._number = 0

    # ---- the round ---------------------------------------------------------------------------

    def begin(self, peers: list[PeerId]) -> None:
        """A first round of these."""
        self._round = peers
        self._random.shuffle(self._round)

    def add(self, peer: PeerId) -> None:
        """A newcomer: at a random place of the round, behind or ahead."""
        place = self._random.randint(0, len(self._round))
        self._round.insert(place, peer)
        if place < self._place:
            self._place += 1

    def remove(self, peer: PeerId) -> None:
        """It is forgotten."""
        place = self._round.index(peer)
        del self._round[place]
        self.forget(peer)
        if place < self._place:
            self._place -= 1

    def next(self, is_here: Callable[[PeerId], bool]) -> PeerId | None:
        """The next of the round who is here; None if nobody is."""
        for _ in range(2):
            while self._place < len(self._round):
                peer = self._round[self._place]
                self._place += 1
                if is_here(peer):
                    return peer
            self._random.shuffle(self._round)
            self._place = 0
        return None

    def draw(self, count: int, fits: Callable[[PeerId], bool]) -> tuple[PeerId, ...]:
        """Up to `count` different members at random. One that does not fit may cost its place: of a
        large cluster not everybody is looked at."""
        peers = self._round
        if len(peers) <= 4 * count:
            fitting = [peer for peer in peers if fits(peer)]
            return tuple(self._random.sample(fitting, min(count, len(fitting))))
        chosen: dict[PeerId, None] = {}
        for _ in range(4 * count):
            peer = peers[self._random.randrange(len(peers))]
            if peer not in chosen and fits(peer):
                chosen[peer] = None
                if len(chosen) == count:
                    break
        return tuple(chosen)

    # ---- questions ---------------------------------------------------------------------------

    def ask(self, peer: PeerId, now: float) -> int:
        """The number of a question to `peer`."""
        self._number += 1
        asked = self.asked.get(peer)
        if asked is None:
            asked = self.asked[peer] = Asked()
        elif len(asked.questions) >= QUESTIONS_MAX:
            del asked.questions[1]
        asked.questions.append((self._number, now))
        return self._number

    def answered(self, peer: PeerId, number: int) -> bool:
        """Whether `number` was put to `peer` and nothing since has been answered: an answer to a
        question answers the ones before it, too."""
        asked = self.asked.get(peer)
        if asked is None or all(number != question for question, _ in asked.questions):
            return False
        asked.questions = [(later, at) for later, at in asked.questions if later > number]
        if asked.questions:
            asked.relays = None
            asked.nacks.clear()
        else:
            del self.asked[peer]
        return True

    def forget(self, peer: PeerId) -> None:
        self.asked.pop(peer, None)

    # ---- errands -----------------------------------------------------------------------------

    def run_errand(self, errand: Errand) -> int | None:
        """The number of a probe for another peer; None if there are too many."""
        if len(self.errands) >= ERRANDS_MAX:
            return None
        self._number += 1
        self.errands[self._number] = errand
        return self._number

    def errand_done(self, source: PeerId, number: int) -> Errand | None:
        """The errand whose probe `source` has answered."""
        errand = self.errands.get(number)
        if errand is None or errand.target != source:
            return None
        return self.errands.pop(number)

    def take_vain_errands(self, now: float) -> list[Errand]:
        """Those that have had no answer in time."""
        vain = [number for number, errand in self.errands.items() if now >= errand.due]
        return [self.errands.pop(number) for number in vain]

    # ---- starvation --------------------------------------------------------------------------

    def forgive(self, seconds: float, now: float) -> None:
        """This peer heard nothing for so long through its own fault."""
        for asked in self.asked.values():
            asked.questions = [(n, min(now, at + seconds)) for n, at in asked.questions]
        for errand in self.errands.values():
            errand.due += seconds
