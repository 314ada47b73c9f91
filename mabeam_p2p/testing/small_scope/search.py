"""The search itself. What it does, and what it leaves out, stands in the package's docstring."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effects, Persist, Send
from mabeam_p2p.ids import NOBODY, PeerId
from mabeam_p2p.messages import (
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReplicationMessage,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.records import Batch, HardState, Standing
from mabeam_p2p.testing.small_scope.copies import clone, frozen
from mabeam_p2p.testing.small_scope.moments import Actor, Disk, Ghost, Moment, Parcel
from mabeam_p2p.testing.small_scope.rules import (
    hear_claim,
    look_at,
    look_at_old_word,
    look_at_winner,
)
from mabeam_p2p.testing.small_scope.scopes import FIRST_TERM, Scope

NOW, LATE = 1_000.0, 1e9
"""When things happen, and when no leader has been heard for long."""

TIMING = Timing(heartbeat_seconds=1.0, election_timeout_seconds=1e6, append_timeout_seconds=0.5)

Step = tuple[str, Moment | None]
"""Its name and where it leads to; None: it is looked at, and not gone on from."""
_Deeds = Iterator[tuple[str, Moment]]
_Deed = Callable[[Replication], None]


class Contradiction(AssertionError):
    """A rule is broken. `story`: the steps that led there, in order."""

    def __init__(self, what: str, story: list[str]) -> None:
        super().__init__("\n".join([what, *(f"  {step}" for step in story)]))
        self.story = story


class SmallScope:
    """All moments of one scope, each once, the near ones first."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._limits = Limits(append_batches_max=scope.append_batches_max)
        self.voters = tuple(PeerId(f"{place + 1:016x}") for place in range(len(scope.logs)))
        self._term_max = max(terms[-1] for terms in scope.logs) + scope.terms
        self.state_count = 0
        self.step_count = 0
        self._doing = ""

    def search(self) -> None:
        """Look at all of them. Raises Contradiction at the first broken rule."""
        first = self._begin()
        ways: dict[Hashable, tuple[Hashable, str] | None] = {first.key(): None}
        frontier = deque([first])
        while frontier:
            moment = frontier.popleft()
            self.state_count += 1
            key = moment.key()
            steps = self._steps(moment)
            while True:
                try:
                    name, following = next(steps)
                except StopIteration:
                    break
                except AssertionError as error:
                    story = [*_story(ways, key), self._doing]
                    raise Contradiction(str(error), story) from error
                self.step_count += 1
                if not following:
                    continue
                next_key = following.key()
                if next_key not in ways:
                    ways[next_key] = key, name
                    frontier.append(following)

    # ---- the beginning -----------------------------------------------------------------------

    def _begin(self) -> Moment:
        """Who holds an entry of the last term voted for the first of those that hold the most of
        it: that one has led the term."""
        scope = self._scope
        last_term = max(terms[-1] for terms in scope.logs)
        late = [place for place, terms in enumerate(scope.logs) if terms[-1] == last_term]
        longest = max(late, key=lambda place: len(scope.logs[place]))
        led = self.voters[longest] if last_term > FIRST_TERM else NOBODY
        actors, votes = [], []
        for place, terms in enumerate(scope.logs):
            batches = tuple(self._batch(index, term) for index, term in enumerate(terms, 1))
            vote = led if terms[-1] == last_term else NOBODY
            if vote:
                votes.append((place, last_term, longest))
            disk = Disk(HardState(0, last_term, vote), batches)
            actors.append(self._started(place, disk, is_fresh=True))
        leaders = ((last_term, longest),) if led else ()
        ghost = Ghost(leaders, tuple(votes), self._chosen(scope.logs, scope.logs[longest]))
        budgets = scope.stands, scope.proposals, scope.beats, scope.crashes, scope.copies
        return Moment(tuple(actors), frozenset(), ghost, *budgets)

    def _chosen(self, logs: tuple[tuple[int, ...], ...], led: tuple[int, ...]) -> tuple[Batch, ...]:
        """What may be committed and so stays: what a majority holds, up to an entry of the term
        that was led last. `led`: the log of who led it."""
        size = 1
        for end in range(2, len(led) + 1):
            holders = sum(log[:end] == led[:end] for log in logs)
            if led[end - 1] == led[-1] and holders >= majority(len(logs)):
                size = end
        return tuple(self._batch(index, term) for index, term in enumerate(led[:size], 1))

    def _batch(self, index: int, term: int) -> Batch:
        voters = self.voters if index == 1 else ()
        return Batch(index, 1, term, 0, b"%d" % term, voters)

    def _started(self, place: int, disk: Disk, is_fresh: bool = False) -> Actor:
        core = Replication(
            self.voters[place],
            hard_state=disk.state,
            batches=disk.batches,
            timing=TIMING,
            limits=self._limits,
            outbox=Outbox(),
            now=NOW,
        )
        return Actor(core, disk, hash(frozen(core)), is_fresh)

    # ---- what may happen next ----------------------------------------------------------------

    def _steps(self, moment: Moment) -> Iterator[Step]:
        waits: list[tuple[int, ...]] = []
        """Logs of peers that have done nothing: the next one of the same waits."""
        for place, actor in enumerate(moment.actors):
            if actor.is_fresh:
                terms = self._scope.logs[place]
                if terms in waits:
                    continue
                waits.append(terms)
            yield from self._own_steps(moment, place, actor)
            for parcel in moment.parcels:
                if parcel[1] == place:
                    yield from self._arrivals(moment, parcel)

    def _own_steps(self, moment: Moment, place: int, actor: Actor) -> Iterator[Step]:
        core, name = actor.core, _letter(place)
        if core.term < self._term_max and moment.stands:
            paid = moment._replace(stands=moment.stands - 1)
            yield from self._act(paid, place, f"{name} stands", self._stand)
        if core.leadership is not None and moment.proposals:
            paid = moment._replace(proposals=moment.proposals - 1)

            def propose(core: Replication) -> None:
                assert core.propose(1, b"%d" % core.term)

            yield from self._act(paid, place, f"{name} takes a command", propose)
        if core.leadership is not None and moment.beats:
            paid = moment._replace(beats=moment.beats - 1)
            for target in range(len(self.voters)):
                if target != place:
                    # What goes to the others is lost.
                    step = f"{name} beats, heard by {_letter(target)}"
                    yield from self._act(paid, place, step, lambda core: None, beat_to=target)
        if moment.crashes:
            yield self._crashed(moment, place, actor.disk, f"{name} crashes")

    def _stand(self, core: Replication) -> None:
        """With a pre-vote of one other, which a majority of three has to give."""
        core.tick(LATE)
        core.stand(_standing(core))
        granted = VoteReply(0, core.term + 1, granted=True, pre=True, higher=False)
        others = [voter for voter in self.voters if voter != core.peer]
        for other in others[: majority(len(self.voters)) - 1]:
            core.receive(other, granted, _standing(core), False, NOW)

    def _arrivals(self, moment: Moment, parcel: Parcel) -> Iterator[Step]:
        source, target, message = parcel
        assert isinstance(message, ReplicationMessage)
        at = LATE if isinstance(message, VoteRequest) else NOW

        def hear(core: Replication) -> None:
            core.receive(self.voters[source], message, _standing(core), False, at)

        name = f"{_letter(target)} hears {_letter(source)}: {message}"
        if isinstance(message, CommitAdvance):
            # It is heard at every moment, to see what would be committed. To go on from there
            # would double every state, for a follower that knows more of what stays as it is.
            for _ in self._act(moment, target, name, hear):
                yield name, None
            return
        before = moment.actors[target].core
        arrived = moment._replace(parcels=moment.parcels - {parcel})
        for step, following in self._act(arrived, target, name, hear):
            look_at_old_word(message, before, following.actors[target].core)
            yield step, following
        if moment.copies:
            doubled = moment._replace(copies=moment.copies - 1)
            yield from self._act(doubled, target, f"{name}, a copy", hear)

    # ---- doing it ----------------------------------------------------------------------------

    def _act(
        self, moment: Moment, place: int, name: str, deed: _Deed, *, beat_to: int = -1
    ) -> _Deeds:
        """What comes of it, and of a crash between two of its records."""
        self._doing = name
        before = moment.actors[place]
        core = clone(before.core, {})
        outbox: Outbox = core._outbox
        base = outbox.persisted
        deed(core)
        if core.is_elected:
            core.lead((1, b"%d" % core.term), NOW)
            look_at_winner(place, core, moment)
        core.flush(NOW if beat_to < 0 else core.next_deadline())
        # The disk has it at once; the leader hears so in a turn of its own.
        effects = outbox.take()
        core.stored(outbox.persisted)
        core.flush(NOW)
        effects += outbox.take()
        if beat_to >= 0:
            target = self.voters[beat_to]
            effects = tuple(e for e in effects if isinstance(e, Send) and e.target == target)
        records = [effect.record for effect in effects if isinstance(effect, Persist)]
        disks = [before.disk]
        for record in records:
            disks.append(disks[-1].written(record))
        stands_for = hash(frozen(core))
        if not effects and stands_for == before.frozen:
            yield name, moment._replace(actors=_with(moment.actors, place, before, fresh=False))
            return
        actor = Actor(core, disks[-1], stands_for, is_fresh=False)
        actors = _with(moment.actors, place, actor)
        sent, ghost = self._sent(moment, place, effects, disks, base, len(records))
        ghost = look_at(place, before.core, actors, ghost)
        yield name, moment._replace(actors=actors, parcels=moment.parcels | sent, ghost=ghost)
        if moment.crashes:
            for kept in range(len(records)):
                sent, early = self._sent(moment, place, effects, disks, base, kept)
                torn = moment._replace(parcels=moment.parcels | sent, ghost=early)
                yield self._crashed(torn, place, disks[kept], f"{name}, and crashes")

    def _sent(
        self,
        moment: Moment,
        place: int,
        effects: Effects,
        disks: list[Disk],
        base: int,
        kept: int,
    ) -> tuple[frozenset[Parcel], Ghost]:
        """What has left when so many records of this input are on the disk: all of it must be true
        of that. base: the number of the last record before them."""
        ghost = moment.ghost
        parcels = []
        for effect in effects:
            if isinstance(effect, Send) and effect.after <= base + kept:
                target = self.voters.index(effect.target)
                ghost = hear_claim(place, target, effect.message, disks[kept], ghost)
                if isinstance(effect.message, self._scope.lost):
                    continue
                if _is_told(effect.message, moment.actors[target].core.term):
                    parcels.append((place, target, effect.message))
        return frozenset(parcels), ghost

    def _crashed(self, moment: Moment, place: int, disk: Disk, name: str) -> tuple[str, Moment]:
        actors = list(moment.actors)
        actors[place] = self._started(place, disk)
        for other, actor in enumerate(actors):
            if other != place and actor.core.leadership is not None:
                core = clone(actor.core, {})
                core.restarted(self.voters[place])
                actors[other] = actor._replace(core=core, frozen=hash(frozen(core)))
        parcels = frozenset(p for p in moment.parcels if place not in (p[0], p[1]))
        return name, moment._replace(
            actors=tuple(actors), parcels=parcels, crashes=moment.crashes - 1
        )


def _with(
    actors: tuple[Actor, ...], place: int, actor: Actor, *, fresh: bool | None = None
) -> tuple[Actor, ...]:
    if fresh is not None:
        actor = actor._replace(is_fresh=fresh)
    return (*actors[:place], actor, *actors[place + 1 :])


def _standing(core: Replication) -> Standing:
    return Standing(core.log.last_term, core.log.last_index, 0, 0)


def _is_told(message: Message, term: int) -> bool:
    """Whether it can matter that it arrives at a peer that is in `term`. Pre-votes are given. A
    leader's first beat says nothing that its first append does not."""
    match message:
        case Heartbeat(round=number):
            return number > 1
        case VoteReply(pre=True) | VoteRequest(pre=True):
            return False
        case HeartbeatReply() | VoteReply(granted=False):
            return message.term > term
        case _:
            return True


def _letter(place: int) -> str:
    return "ABCDEFG"[place]


def _story(ways: dict[Hashable, tuple[Hashable, str] | None], key: Hashable) -> list[str]:
    """The steps that led to `key`."""
    steps: list[str] = []
    while (way := ways[key]) is not None:
        key = way[0]
        steps.append(way[1])
    return steps[::-1]
