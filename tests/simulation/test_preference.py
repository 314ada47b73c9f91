"""The bully's preference under slow links, lag and faults: it never blocks, loops or multiplies
elections. Whole nodes in virtual time, every invariant at every step."""

from itertools import pairwise, permutations
from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Timing
from mabeam_p2p.events import Event, HandOverBegan
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.messages import Message, TimeoutNow, VoteReply, VoteRequest
from mabeam_p2p.requests import Done, Leave, Refused, SetFitness, TransferLeadership
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import (
    SECOND,
    Agents,
    Faults,
    Network,
    Preferences,
    Storage,
    Weather,
    draw,
)
from mabeam_p2p.testing.whims import PreferenceJudge
from tests.bad_days.stage import Client, Stage

TIMEOUT = Timing().election_timeout_seconds
QUICK = Timing(preference_dwell_seconds=1.0, preference_interval_seconds=6.0)
EVERY = SECOND // 20


def judged(stage: Stage) -> PreferenceJudge:
    judge = PreferenceJudge(stage.simulator.weather)
    judge.hear(stage.simulator)
    return judge


def led_by(stage: Stage) -> Host | None:
    """Who leads and is followed by a majority of all."""
    for host in stage.hosts:
        if host.node is not None and host.node.replication.leadership is not None:
            count = sum(node.replication.leader == host.peer for node in stage.nodes)
            if count > len(stage.hosts) // 2:
                return host
    return None


class Newcomers:
    """Agents that join, one after the other: each is a write of its own, which needs nothing that a
    verdict of death could have ended."""

    def __init__(self, stage: Stage, host: Host) -> None:
        self._stage = stage
        self._host = host
        self._clients: list[Client] = []

    def join(self) -> None:
        if self._host.node is None:
            return
        number = len(self._clients) + 100 * (self._host.number + 1)
        client = Client(self._stage, self._host)
        client.session = SessionId(number)
        client.name = AgentId(f"agent-{number}@peer-{self._host.letter.lower()}")
        client.open()
        self._clients.append(client)

    def are_known(self) -> bool:
        return not any(client.is_waiting for client in self._clients)


class Watch:
    """Looks every 50 ms whether a majority is led, for how long it was not, and how often that
    changed."""

    def __init__(self, stage: Stage) -> None:
        self.longest = 0.0
        self.changes = 0
        self._stage = stage
        self._leader: Host | None = None
        self._vacant_since = stage.now
        stage.simulator.after(EVERY, self._look)

    def _look(self) -> None:
        leader, now = led_by(self._stage), self._stage.now
        if leader is not None:
            if self._leader not in (None, leader):
                self.changes += 1
            self._leader = leader
            self._vacant_since = now
        self.longest = max(self.longest, (now - self._vacant_since) / SECOND)
        self._stage.simulator.after(EVERY, self._look)


# ---- preference, lag and slow links ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_preference_never_blocks_or_loops_an_election(seed: int) -> None:
    """NuRaft #30, dledger #85, openraft #1839, braft #261: the peer that all would rather have lags
    behind a slow link, and comes and goes; the leader dies again and again. A majority is led
    within a bound always, and leadership moves by itself at most once in an interval."""
    random = Random(seed)
    peers = random.choice((3, 5))
    scores = tuple(random.randrange(101) for _ in range(peers))
    stage = Stage(f"preferred {seed}", peers, timing=QUICK, preferences=Preferences(scores))
    judge = judged(stage)
    stage.formed()
    watch = Watch(stage)
    newcomers = [Newcomers(stage, host) for host in stage.hosts]
    for _ in range(80):
        favourite = stage.hosts[random.randrange(peers)]
        stage.ask(favourite, SetFitness(random.choice((0, 50, 100))))
        links = [(favourite.number, n) for n in range(peers) if n != favourite.number]
        links += [(b, a) for a, b in links]
        slow = [link for link in links if random.random() < 0.7]
        if random.random() < 0.5:
            stage.simulator.links.clog(tuple(slow))
        for one in newcomers:
            one.join()
        stage.run(random.choice((0.1, 0.3, 1.0)))
        stage.simulator.links.unclog(tuple(slow))
        stage.run(random.choice((0.1, 0.5, 2.0)))
    assert watch.longest < 10 * TIMEOUT
    assert judge.preferred, "leadership was to move"
    assert all(later - first >= 5 * SECOND for first, later in pairwise(judge.preferred))
    stage.until(stage.agree)


@pytest.mark.slow
def test_a_preferred_peer_that_lags_gets_nothing_until_it_has_caught_up() -> None:
    """Its acknowledgements come seconds late: it is alive and better, and nobody hands over."""
    stage = Stage("lags", 3, timing=QUICK, preferences=Preferences(scores=(50, 20, 95)))
    judge = judged(stage)
    leader = stage.formed()
    assert leader.letter == "A", "the one that has brought them together"
    worse, better = stage.hosts[1:]
    newcomers = Newcomers(stage, worse)
    stage.simulator.links.clog(((better.number, leader.number),))
    for _ in range(100):
        newcomers.join()
        stage.run(0.1)
    assert judge.preferred == []
    assert led_by(stage) is leader
    stage.simulator.links.unclog(((better.number, leader.number),))
    stage.run(12.0)
    assert len(judge.preferred) == 1
    assert led_by(stage) is better


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 12, 4))
def test_whims_in_lossy_weather_break_no_rule(first: int) -> None:
    """Drawn runs with changing scores, unfit peers and hand-overs at random, in weather in which
    leaders last long enough to be asked."""
    preferred = asked = 0
    for number in range(first, first + 4):
        trial = Trial(f"whims {number}", whimsical(f"whims {number}"))
        trial.run(20.0)
        preferred += len(trial.preference.preferred)
        asked += trial.preference.others_count
    assert preferred >= 4
    assert asked >= 4


def whimsical(seed: str) -> Weather:
    random = Simulator.stream_of(seed, "weather")
    weather = draw(random)
    peers = random.choice((3, 4, 5))
    election = weather.timing.election_timeout_seconds
    unit = int(election * SECOND)
    return replace(
        weather,
        peers=peers,
        expect=peers,
        network=Network(
            unit // 100, unit // 200, loss=random.choice((0.0, 0.02)), late=unit, duplicate=0.1
        ),
        storage=Storage(sync=unit // 100, jitter=unit // 100),
        agents=Agents(think=50_000),
        faults=Faults(("crash", "pause", "isolate"), every=unit * 20, down=unit),
        timing=replace(
            weather.timing,
            preference_dwell_seconds=election,
            preference_interval_seconds=election * 6,
        ),
        preferences=Preferences(
            tuple(random.randrange(101) for _ in range(peers)),
            ineligible=(random.randrange(peers),) if random.random() < 0.3 else (),
            margin=random.choice((1, 20)),
            every=unit * 4,
        ),
        earlier=tuple(host for host in weather.earlier if host < peers),
    )


# ---- stability -------------------------------------------------------------------------------


HEALTHY_HOURS = 1 / 3
"""Of virtual time; ten of them take minutes, and have been run."""


@pytest.mark.slow
def test_scores_that_tremble_move_nothing_in_healthy_hours() -> None:
    """All within half the margin, and one that leaps for less than the dwell time."""
    random = Random(1)
    stage = Stage("healthy", 3)
    judge = judged(stage)
    leader = stage.formed()
    stage.run(10.0)
    term = stage.status(leader).term
    while stage.now < HEALTHY_HOURS * 3600 * SECOND:
        for host in stage.hosts:
            stage.ask(host, SetFitness(random.randint(45, 54)))
        stage.run(21.0)
        stage.ask(stage.hosts[random.randrange(3)], SetFitness(100))
        stage.run(9.0)
    assert stage.status(leader).term == term
    assert stage.leader() is leader
    assert (judge.preferred, judge.others_count) == ([], 0)


@pytest.mark.slow
def test_a_peer_that_flaps_changes_the_leader_at_most_once_for_each_return() -> None:
    stage = Stage("flapping", 5, preferences=Preferences(scores=(90, 50, 50, 50, 50)))
    leader = stage.formed()
    flapping = leader
    stage.run(2.0)
    watch = Watch(stage)
    others = [host.number for host in stage.hosts if host is not flapping]
    links = tuple(link for n in others for link in ((flapping.number, n), (n, flapping.number)))
    for _ in range(30):
        stage.simulator.links.cut(links)
        stage.run(1.5)
        stage.simulator.links.mend(links)
        stage.run(2.5)
    assert watch.changes <= 1, "it led at first, and does not come back into office by returning"


# ---- elections under crashes and partial partitions ------------------------------------------

ELECTION = VoteRequest | VoteReply | TimeoutNow


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "leaves", "transfers"])
def test_an_election_ends_with_a_leader_whoever_dies_at_any_message_of_it(how: str) -> None:
    """Zyre c6a85fb, 700502c: the sender of the n-th message of an election dies as it sends it."""
    number = 0
    while True:
        stage = Stage(f"dies {how}", 5, preferences=Preferences(scores=(50, 60, 70, 80, 90)))
        leader = stage.formed()
        stage.run(2.0)
        victim = Victim(stage, number)
        if how == "killed":
            stage.kill(leader)
        elif how == "leaves":
            stage.ask(leader, Leave())
        else:
            stage.ask(leader, TransferLeadership(PeerId("")))
        stage.run(1.0)
        seconds = stage.until(lambda stage=stage: led_by(stage) is not None)  # type: ignore[misc]
        assert seconds < 5 * TIMEOUT
        if victim.host is None:
            break  # The whole election has fewer messages than that.
        number += 1
    assert number >= 4


class Victim:
    """Kills whoever sends the n-th message of the next election."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.host: Host | None = None
        self._left = number
        self._stage = stage
        stage.simulator.on_send = self._sent

    def _sent(self, host: Host, target: PeerId, message: Message) -> None:
        if self.host is None and isinstance(message, ELECTION):
            if self._left == 0:
                self.host = host
                self._stage.simulator.after(0, self._stage.kill, host)
            self._left -= 1


@pytest.mark.slow
@pytest.mark.parametrize("apart", list(permutations(range(3), 2)))
def test_one_that_sees_two_that_do_not_see_each_other_has_one_leader(
    apart: tuple[int, int],
) -> None:
    """Elasticsearch #2488: C sees A and B, who do not see each other. One leader in a term (which
    the checkers see), and soon the same one for good."""
    stage = Stage(f"bridge {apart}", 3)
    stage.formed()
    stage.run(2.0)
    a, b = apart
    stage.simulator.links.cut(((a, b), (b, a)))
    stage.run(10 * TIMEOUT)
    watch = Watch(stage)
    bridge = stage.hosts[3 - a - b]
    newcomers = Newcomers(stage, bridge)
    for _ in range(50):
        newcomers.join()
        stage.run(0.2)
    stage.until(newcomers.are_known)
    assert watch.changes == 0
    assert watch.longest < TIMEOUT


@pytest.mark.slow
@pytest.mark.parametrize("bridge", range(5))
def test_two_halves_that_only_one_peer_sees_both_of_make_progress(bridge: int) -> None:
    stage = Stage(f"halves {bridge}", 5, preferences=Preferences(scores=(90, 10, 50, 70, 30)))
    stage.formed()
    stage.run(2.0)
    others = [n for n in range(5) if n != bridge]
    links = tuple(link for a in others[:2] for b in others[2:] for link in ((a, b), (b, a)))
    stage.simulator.links.cut(links)
    stage.run(10 * TIMEOUT)
    watch = Watch(stage)
    newcomers = Newcomers(stage, stage.hosts[bridge])
    for _ in range(50):
        newcomers.join()
        stage.run(0.2)
    stage.until(newcomers.are_known)
    assert watch.changes <= 1
    assert watch.longest < 3 * TIMEOUT


# ---- who may lead ----------------------------------------------------------------------------


def test_one_peer_alone_leads_and_hands_over_to_nobody() -> None:
    stage = Stage("one", 1)
    leader = stage.formed()
    answer = stage.answer(leader, TransferLeadership(PeerId("")))
    assert isinstance(answer, Refused)
    assert answer.reason == "no_successor"
    assert stage.answer(leader, Leave()) == Done()


@pytest.mark.slow
def test_where_nobody_may_lead_nobody_does_until_somebody_may() -> None:
    stage = Stage("none", 3)
    leader = stage.formed()
    stage.run(1.0)
    for host in stage.hosts:
        stage.answer(host, SetFitness(50, "maintenance"))
    stage.run(1.0)
    stage.kill(leader)
    fit = next(host for host in stage.hosts if host is not leader)
    stage.run(20.0)
    assert all(node.replication.leadership is None for node in stage.nodes)
    assert all(node.replication.term == stage.nodes[0].replication.term for node in stage.nodes)
    stage.answer(fit, SetFitness(50))
    assert stage.until(lambda: led_by(stage) is fit) < 3 * TIMEOUT


@pytest.mark.slow
def test_a_leader_that_is_not_fit_any_more_hands_over_to_one_that_is() -> None:
    stage = Stage("tired", 3, timing=QUICK)
    judge = judged(stage)
    leader = stage.formed()
    stage.run(7.0)
    stage.answer(leader, SetFitness(50, "disk full"))
    stage.run(2.0)
    assert len(judge.preferred) == 1
    assert led_by(stage) not in (None, leader)


@pytest.mark.slow
def test_a_log_that_only_a_peer_that_may_not_lead_holds_is_handed_on_by_it() -> None:
    """One of two voters that are left may lead, and the other one holds more: it is elected for the
    sake of its log, and hands over when the first one has it."""
    stage = Stage("caretaker", 3, preferences=Preferences(ineligible=(2,)))
    leader = stage.formed()
    stage.run(1.0)
    newcomers = Newcomers(stage, leader)
    lagging = next(h for h in stage.hosts if h is not leader and h.number != 2)
    keeper = stage.hosts[2]
    reasons: list[str] = []

    def on_event(host: Host, event: Event) -> None:
        if isinstance(event, HandOverBegan):
            reasons.append(f"{event.reason} {host.letter}")

    stage.simulator.on_event = on_event
    stage.simulator.links.cut(((leader.number, lagging.number),))
    for _ in range(10):
        newcomers.join()
        stage.run(0.02)
    held = stage.status(keeper).last_index
    assert stage.status(lagging).last_index < held
    stage.kill(leader)
    stage.simulator.links.mend(((leader.number, lagging.number),))
    assert stage.until(lambda: led_by(stage) is lagging) < 10 * TIMEOUT
    assert stage.status(lagging).last_index > held
    assert reasons == [f"caretaker {keeper.letter}"]
    stage.run(5.0)
    assert led_by(stage) is lagging


@pytest.mark.slow
def test_a_peer_that_is_not_eligible_votes_and_does_not_lead() -> None:
    stage = Stage("idle", 3, preferences=Preferences(scores=(100, 0, 0), ineligible=(0,)))
    judge = judged(stage)
    leader = stage.formed()
    stage.run(1.0)
    other = next(h for h in stage.hosts if h is not leader and h.number != 0)
    stage.kill(leader)
    assert stage.until(lambda: led_by(stage) is other) < 5 * TIMEOUT, "with its vote"
    stage.kill(other)
    stage.run(20.0)
    assert judge.preferred == []
    assert stage.hosts[0].node is not None
    assert stage.hosts[0].node.replication.term == stage.status(stage.hosts[0]).term
    assert not stage.status(stage.hosts[0]).nobody_eligible, "no majority is there at all"


@pytest.mark.slow
def test_where_nobody_that_is_left_may_lead_nobody_does_and_each_says_so() -> None:
    """It is an exclusion, and no preference. One that comes back and may ends it at once."""
    stage = Stage("excluded", 3, preferences=Preferences(ineligible=(1, 2)))
    leader = stage.formed()
    assert leader is stage.hosts[0]
    stage.run(1.0)
    left = stage.hosts[1:]
    assert not any(stage.status(host).nobody_eligible for host in stage.hosts)
    term = stage.status(leader).term
    stage.kill(leader)
    stage.run(60.0)
    assert led_by(stage) is None
    for host in left:
        seen = stage.status(host)
        assert (seen.nobody_eligible, seen.quorum, seen.term) == (True, False, term)
    stage.start(leader)
    assert stage.until(lambda: led_by(stage) is leader) < 10 * TIMEOUT
    stage.run(1.0)
    assert not any(stage.status(host).nobody_eligible for host in stage.hosts)
