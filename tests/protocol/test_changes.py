"""Changes of the voters by command: between the peer that asks and the leader that does."""

from msgspec.structs import replace

from mabeam_p2p.commands import Configure
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Resolve, Send
from mabeam_p2p.ids import CLUSTER_SESSION, ClusterId, PeerId
from mabeam_p2p.messages import ChangeVoter, VoterAnswer
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.node.changes import WISHES_MAX, VoterChanges
from mabeam_p2p.protocol.replication import Objection
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.requests import Answer, ChangeVoters, Committed, Failed, Refused
from tests.protocol.raft_world import A, B, C, D, E, World

TIMING = Timing(forward_timeout_seconds=0.5, no_quorum_seconds=1.0)
CLUSTER = ClusterId("c" * 32)


class Party:
    """The changes of one peer of a world, with the members that it sees."""

    def __init__(self, world: World, peer: PeerId, *members: PeerId) -> None:
        self.world = world
        self.peer = peer
        self.core = world[peer].core
        self.members = [Member(p, p, "", 1, 1, MemberState.ALIVE) for p in members or (A, B, C, D)]
        self.barred: tuple[PeerId, ...] | None = ()
        self.wanted: list[Configure] = []
        self.outbox = Outbox()
        self.changes = VoterChanges(
            peer,
            self.core,
            members=lambda: tuple(self.members),
            barred=lambda: self.barred,
            configure=self._configure,
            timing=TIMING,
            limits=Limits(voters_max=4),
            outbox=self.outbox,
            epoch=0,
        )

    def _configure(self, voters: tuple[PeerId, ...], barred: tuple[PeerId, ...]) -> Objection:
        self.wanted.append(Configure(CLUSTER_SESSION, 0, CLUSTER, voters, barred))
        return self.core.configure(voters, b"voters", self.core.log.configuration_index)

    def ask(self, peer: PeerId, votes: bool, index: int = 0, token: int = 1) -> None:
        request = ChangeVoters(peer, votes, index)
        self.changes.request(token, request, self.world.now + 30.0, self.world.now)

    def flush(self, leader: PeerId | None = A) -> None:
        def deed(core: object) -> None:
            self.changes.tick(self.world.now)
            self.changes.flush(leader, self.world.now)

        self.world.act(self.peer, deed)

    def answers(self) -> list[Answer]:
        return [effect.answer for effect in self._take() if isinstance(effect, Resolve)]

    def sent(self) -> list[object]:
        return [effect.message for effect in self._take() if isinstance(effect, Send)]

    def _take(self) -> tuple[object, ...]:
        return self.outbox.take()


def leading(*members: PeerId) -> tuple[World, Party]:
    """A leads A, B and C; D has caught up."""
    world = World(3, learners=(D, E))
    world.elect(A)
    for _ in range(4):
        world.beat(A)
    return world, Party(world, A, *members)


def test_a_wish_is_answered_once_it_is_committed() -> None:
    world, party = leading()
    party.ask(D, True)
    party.flush()
    assert world[A].core.voters == (A, B, C, D)
    assert party.answers() == []
    world.deliver()
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Committed)
    assert answer.index == world[A].core.log.configuration_index


def test_a_wish_for_what_is_so_is_done() -> None:
    _, party = leading()
    party.ask(B, True, token=1)
    party.ask(D, False, token=2)
    party.flush()
    assert [type(answer) for answer in party.answers()] == [Committed, Committed]
    assert party.wanted == []


def test_a_wish_that_is_asked_again_after_it_was_done_is_done_once() -> None:
    world, party = leading()
    index = world[A].core.log.configuration_index
    wish = ChangeVoter(0, 9, D, True, index)
    for _ in range(3):
        world.act(A, lambda core: party.changes.receive(B, wish, world.now))
        world.deliver()
    party.flush()
    answers = party.sent()
    assert set(answers) == {VoterAnswer(0, 9, "done", world[A].core.log.configuration_index)}
    assert len(party.wanted) == 1


def test_a_wish_made_on_another_configuration_is_refused() -> None:
    _, party = leading()
    party.ask(D, True, index=99)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert (answer.reason, party.wanted) == ("voters_changed", [])


def test_a_late_copy_of_a_wish_does_not_undo_what_was_changed_since() -> None:
    world, party = leading()
    asker = Party(world, B)
    asker.ask(D, True)
    asker.flush()
    [copy] = asker.sent()
    assert isinstance(copy, ChangeVoter)
    world.act(A, lambda core: party.changes.receive(B, copy, world.now))
    world.deliver()
    assert world.configure(A, A, B, C) is Objection.NONE
    world.deliver()
    world.act(A, lambda core: party.changes.receive(B, copy, world.now))
    assert world[A].core.voters == (A, B, C)


def test_what_was_refused_once_is_not_done_by_a_copy_that_comes_later() -> None:
    world, party = leading(A, B, C, D, E)
    world.cut(A, E)
    for _ in range(5):
        world.beat(A)
    asker = Party(world, B)
    asker.ask(E, True)
    asker.flush()
    [wish] = asker.sent()
    assert isinstance(wish, ChangeVoter)
    world.act(A, lambda core: party.changes.receive(B, wish, world.now))
    [refusal] = party.sent()
    assert isinstance(refusal, VoterAnswer)
    assert refusal.reason == "not_caught_up"
    world.heal()
    for _ in range(4):
        world.beat(A)
    world.act(A, lambda core: party.changes.receive(B, wish, world.now))
    assert party.sent() == [refusal]
    assert world[A].core.voters == (A, B, C)
    asker.ask(E, True, token=2)
    asker.flush()
    anew = asker.sent()[-1]
    assert isinstance(anew, ChangeVoter)
    world.act(A, lambda core: party.changes.receive(B, anew, world.now))
    assert world[A].core.voters == (A, B, C, E), "another wish is another matter"


def test_a_leader_of_another_term_judges_anew_what_was_refused() -> None:
    """A refusal binds the leader that has given it and no later one, though it be the same peer."""
    world, party = leading(A, B, C, D, E)
    world.cut(A, E)
    for _ in range(5):
        world.beat(A)
    wish = ChangeVoter(0, 9, E, True, world[A].core.log.configuration_index)
    world.act(A, lambda core: party.changes.receive(B, wish, world.now))
    assert [type(answer) for answer in party.sent()] == [VoterAnswer]
    world.heal()
    world.elect(B)
    world.elect(A)
    for _ in range(4):
        world.beat(A)
    world.act(A, lambda core: party.changes.receive(B, wish, world.now))
    assert world[A].core.voters == (A, B, C, E)


def test_a_refusal_of_the_second_leader_asked_says_nothing_certain() -> None:
    """The first one may have appended it."""
    world, _ = leading()
    party = Party(world, B)
    party.ask(D, True)
    party.flush(A)
    world.elect(C)
    party.flush(C)
    party.changes.receive_answer(C, VoterAnswer(0, 1, "not_caught_up", 1))
    [answer] = party.answers()
    assert isinstance(answer, Failed)
    assert answer.reason == "unknown"


def test_a_wish_that_names_no_configuration_is_asked_anew_on_the_latest() -> None:
    world, _ = leading()
    asker = Party(world, B)
    asker.ask(D, True)
    asker.flush()
    [wish] = asker.sent()
    assert isinstance(wish, ChangeVoter)
    index = world[A].core.log.configuration_index
    assert wish.index == index
    asker.changes.receive_answer(A, VoterAnswer(0, wish.number, "voters_changed", index + 5))
    asker.flush()
    assert asker.sent() == [ChangeVoter(0, wish.number, D, True, index + 5)]
    asker.flush()
    assert (asker.sent(), asker.answers()) == ([], []), "it waits for the leader again"


def test_who_is_unknown_or_behind_or_too_many_is_refused_with_the_reason() -> None:
    world, party = leading(A, B, C, D, E)
    party.ask(PeerId("9" * 16), True)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert answer.reason == "no_member"
    world.cut(A, E)
    for _ in range(5):
        world.beat(A)
    party.ask(E, True)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert answer.reason == "not_caught_up"
    party.ask(D, True)
    party.flush()
    world.heal()
    for _ in range(4):
        world.beat(A)
    party.flush()
    party.answers()
    party.ask(E, True)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert answer.reason == "too_many_voters"


def test_the_last_voter_is_not_removed() -> None:
    world = World(1)
    world.elect(A)
    party = Party(world, A)
    party.ask(A, False)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert answer.reason == "last_voter"


def test_a_change_that_leaves_no_majority_that_answers_is_refused() -> None:
    world, party = leading()
    world.isolate(C)
    for _ in range(5):
        world.beat(A)
    party.ask(B, False)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert (answer.reason, party.wanted) == ("no_majority", [])
    party.ask(C, False)
    party.flush()
    assert [command.voters for command in party.wanted] == [(A, B)]


def test_a_leader_that_has_heard_nobody_yet_waits_with_a_change() -> None:
    """That it leads for less than the time of an election is no word of the others."""
    world, party = leading()
    leadership = world[A].core.leadership
    assert leadership is not None
    for progress in leadership.progress.values():
        progress.round = 0
    party.ask(C, False)
    party.flush()
    assert (party.answers(), party.wanted) == ([], [])
    bound = world.now + 10.0
    while not party.wanted:
        assert world.now < bound, "it is asked again"
        world.beat(A)
        party.flush()
    assert [command.voters for command in party.wanted] == [(A, B)]


def test_who_has_just_said_goodbye_is_of_no_majority_that_answers() -> None:
    world, party = leading()
    party.members = [
        replace(member, state=MemberState.LEFT) if member.peer == C else member
        for member in party.members
    ]
    leadership = world[A].core.leadership
    assert leadership is not None
    assert leadership.silence(C, world.now) < world.timing.election_timeout_seconds
    party.ask(B, False)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Refused)
    assert (answer.reason, party.wanted) == ("no_majority", [])


def test_who_is_removed_by_command_is_barred_until_it_is_promoted() -> None:
    world, party = leading()
    party.ask(C, False)
    party.flush()
    assert [command.barred for command in party.wanted] == [(C,)]
    world.learners = (C, D, E)
    world.act(A, lambda core: core.set_learners(world.learners, world.now))
    for _ in range(4):
        world.beat(A)
    party.barred = (C,)
    party.ask(C, True)
    party.flush()
    assert [command.barred for command in party.wanted] == [(C,), ()]
    assert world[A].core.voters == (A, B, C)


def test_wishes_under_way_are_bounded() -> None:
    world, _ = leading()
    party = Party(world, B)
    for token in range(1, WISHES_MAX + 2):
        party.ask(D, True, token=token)
    [full] = party.answers()
    assert isinstance(full, Failed)
    assert full.reason == "overloaded"
    party.flush()
    assert len(party.sent()) == WISHES_MAX
    party.changes.cancel(1)
    party.ask(E, True)
    assert party.answers() == [], "there is room again"


def test_a_follower_asks_the_leader_again_until_it_is_answered() -> None:
    world, _ = leading()
    party = Party(world, B)
    party.ask(D, True, index=1)
    party.flush()
    [wish] = party.sent()
    assert wish == ChangeVoter(0, 1, D, True, 1)
    party.flush()
    assert party.sent() == []
    world.wait(0.5)
    party.flush()
    assert party.sent() == [wish]
    party.changes.receive_answer(C, VoterAnswer(0, 1, "done", 7))
    assert party.answers() == [], "C does not lead"
    party.changes.receive_answer(A, VoterAnswer(0, 1, "done", 7))
    party.changes.receive_answer(A, VoterAnswer(0, 1, "done", 7))
    [answer] = party.answers()
    assert isinstance(answer, Committed)
    assert answer.index == 7


def test_without_a_leader_a_wish_fails_as_certainly_not_done_or_as_unknown() -> None:
    world, _ = leading()
    party = Party(world, B)
    party.ask(D, True, token=1)
    party.flush(A)
    party.ask(E, True, token=2)
    party.flush(None)
    world.wait(1.0)
    assert party.changes.next_deadline() <= world.now
    party.flush(None)
    reasons = [answer.reason for answer in party.answers() if isinstance(answer, Failed)]
    assert reasons == ["unknown", "no_quorum"]


def test_a_wish_whose_time_is_over_is_answered_then_though_others_have_longer() -> None:
    world, _ = leading()
    party = Party(world, B)
    start = world.now
    for token, seconds in ((1, 9.0), (2, 0.25), (3, 5.0)):
        party.changes.request(token, ChangeVoters(D, True), start + seconds, start)
    party.flush()
    assert party.changes.next_deadline() == start + 0.25
    world.wait(0.25)
    party.flush()
    [answer] = party.answers()
    assert isinstance(answer, Failed)
    assert answer.reason == "unknown"


def test_a_wish_nobody_waits_for_is_not_asked_again() -> None:
    world, _ = leading()
    party = Party(world, B)
    party.ask(D, True)
    party.changes.cancel(1)
    party.flush()
    assert party.sent() == []


def test_a_leader_that_does_not_know_who_is_barred_yet_answers_later() -> None:
    world, party = leading()
    party.barred = None
    party.ask(D, True)
    party.flush()
    assert (party.answers(), party.wanted) == ([], [])
    party.barred = ()
    for _ in range(4):
        world.beat(A)
    party.flush()
    assert [command.voters for command in party.wanted] == [(A, B, C, D)]


def test_a_leader_that_stepped_down_answers_for_nothing_that_was_not_committed() -> None:
    world, party = leading()
    world.isolate(A)
    world.act(A, lambda core: party.changes.receive(B, ChangeVoter(0, 3, D, True, 0), world.now))
    assert world[A].core.voters == (A, B, C, D)
    world.elect(B)
    world.heal()
    for _ in range(4):
        world.beat(B)
    party.flush(B)
    assert party.sent() == []
