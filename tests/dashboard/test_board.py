"""What the sections say, over a fake peer."""

from collections import Counter

import msgspec
import pytest
from msgspec.structs import replace

from mabeam_p2p.dashboard.board import ENDED_MAX, LIST_MAX, OPEN_MAX, SECTIONS, VALUES_MAX
from mabeam_p2p.dashboard.fitting import NOT_SHOWN
from mabeam_p2p.dashboard.links import LINKS_MAX
from mabeam_p2p.errors import Overloaded
from mabeam_p2p.events import (
    EVENTS_LOST,
    AuctionClosed,
    AuctionOpened,
    BarrierChanged,
    Dropped,
    LedgerChanged,
    MailArrived,
    MemberChanged,
    ParameterChanged,
    ProposalDecided,
    ProposalOpened,
    VariableChanged,
)
from mabeam_p2p.ids import AgentId, AuctionId, PeerId, ProposalId, TaskId
from mabeam_p2p.inquiries import EvidenceAnswer, ReadEvidence
from mabeam_p2p.records import (
    Account,
    Auction,
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    BarrierStatus,
    Bid,
    BidStatus,
    Choice,
    Doubt,
    Evidence,
    Generation,
    Hearing,
    Member,
    MemberState,
    Movement,
    MovementKind,
    Offer,
    OnDeparture,
    Parameter,
    Policy,
    Proposal,
    ProposalStatus,
    Sibling,
    Side,
    Strategy,
    Task,
    TaskOrder,
    TaskStatus,
    Variable,
    Vote,
)
from mabeam_p2p.requests import (
    AuctionQuery,
    Found,
    GenerationQuery,
    ProposalQuery,
    Read,
    ReadStatus,
    Request,
    StatusAnswer,
    TasksQuery,
)
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import PEER, FakePeer, Reply, status, usual
from tests.dashboard.looking import Looked, looked
from tests.eventually import eventually
from tests.in_loop import in_loop

ADA = AgentId("ada@ant")
LONG = "because " * 1_000


def encoded(value: object) -> bytes:
    return encode_value(value, 1_000_000)


def proposal(number: int, status: ProposalStatus = ProposalStatus.OPEN) -> Proposal:
    choices = (Choice.REJECT, *[Choice.ACCEPT] * 99)
    votes = tuple(Vote(AgentId(f"a{n}@ant"), c, 900, LONG, n, n) for n, c in enumerate(choices))
    electorate = tuple(AgentId(f"a{n}@ant") for n in range(1_000))
    return Proposal(
        ProposalId(f"p{number}"), "rate", encoded(0.1), ADA, LONG, b"", "all", Policy(), None,
        electorate, number, 1, 1, 9, votes, status,
    )  # fmt: skip


def auction(number: int, status: AuctionStatus = AuctionStatus.OPEN) -> Auction:
    terms = AuctionTerms(AuctionRule.ENGLISH, Side.FORWARD, 9, quantity=2, increment=1_000_000)
    bids = tuple(
        Bid(AgentId(f"b{n}@ant"), n + 1, n, BidStatus.STANDING, (Offer(n * 1_000_000),))
        for n in range(300)
    )
    return Auction(
        AuctionId(f"l{number}"), "gpu", ADA, "all", terms, b"", number, 1, 1, 9, status, bids
    )


def generation(number: int, status: BarrierStatus) -> Generation:
    return Generation("epoch", number, 4, 5, OnDeparture.BREAK, (ADA,), status, 1)


def parameter(name: str, version: int) -> Parameter:
    return Parameter(name, encoded(version), version, ProposalId("p"), version)


def variable(name: str, value: object, counter: int, resolver: str = "lww") -> Variable:
    data = None if value is None else encoded(value)
    return Variable(name, resolver, ((PEER, counter),), (Sibling(PEER, counter, counter, data),))


@in_loop
async def test_every_section_can_be_read_of_a_peer_on_which_nothing_has_happened() -> None:
    async with looked() as at:
        for section in SECTIONS:
            assert await at.read(section)
        peer = await at.read("peer")
        assert (peer["role"], peer["leader"], peer["term"], peer["quorum"]) == (
            "leader", PEER, 1, True,
        )  # fmt: skip
        assert (await at.rows("elections"))[0]["text"] == "ant leads in term 1"


@in_loop
async def test_members_tell_their_state_and_part_and_the_leader_stands_first() -> None:
    async with looked() as at:
        states = [MemberState.DEAD, MemberState.ALIVE, MemberState.SUSPECT]
        for number, state in enumerate(states):
            told = Member(PeerId(f"{number:016x}"), f"bee{number}", "h:1", 1, 1, state)
            assert at.tell(MemberChanged(told)) == ["members"]
        at.tell(MemberChanged(Member(PEER, "zebra", "h:1", 1, 1, MemberState.ALIVE)))
        rows = await at.rows("members")
        assert [(row["name"], row["state"], row["part"]) for row in rows] == [
            ("zebra", "alive", "voter"),
            ("bee1", "alive", ""),
            ("bee2", "suspect", ""),
            ("bee0", "dead", ""),
        ]
        assert [row["is_leader"] for row in rows] == [True, False, False, False]


@in_loop
async def test_this_peer_is_listed_however_many_there_are_and_whoever_leads() -> None:
    leader = PeerId(f"{5:016x}")

    def reply(request: Request) -> Reply:
        if isinstance(request, ReadStatus):
            return StatusAnswer(replace(status(), role="follower", leader=leader))
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        at.tell(MemberChanged(Member(PEER, "zebra", "h:1", 1, 1, MemberState.ALIVE)))
        for number in range(LIST_MAX + 9):
            told = Member(PeerId(f"{number:016x}"), f"b{number:03}", "h:1", 1, 1, MemberState.ALIVE)
            at.tell(MemberChanged(told))
        rows = await at.rows("members")
    assert [row["name"] for row in rows][:3] == ["b005", "zebra", "b000"]
    assert [row["is_here"] for row in rows][:3] == [False, True, False]


@in_loop
async def test_members_that_can_be_drawn_tell_how_they_are_connected() -> None:
    def reply(request: Request) -> Reply:
        if isinstance(request, ReadEvidence):
            member = Member(request.peer, "bee", "h:1", 1, 1, MemberState.SUSPECT)
            doubt = Doubt((PEER,), 0.5, 2.0)
            heard = Hearing(0.1, 0, 0.0, 1.2, (), ())
            return EvidenceAnswer(Evidence(request.peer, PEER, member, hearing=heard, doubt=doubt))
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        at.tell(MemberChanged(Member(PEER, "ant", "h:1", 1, 1, MemberState.ALIVE)))
        for number in range(LINKS_MAX * 2):
            told = Member(PeerId(f"{number:016x}"), f"b{number:02}", "h:1", 1, 1, MemberState.ALIVE)
            at.tell(MemberChanged(told))
        known = [(row["link"], row["missed_by"]) for row in await at.rows("members")]
    # Of this peer itself, which leads and so stands first, there is nothing to tell.
    asked = [("unmet", ["ant"])] * LINKS_MAX
    assert known == [("", []), *asked, *[("", [])] * LINKS_MAX]


@in_loop
async def test_of_many_proposals_the_newest_are_shown_with_some_of_their_votes() -> None:
    async with looked() as at:
        events = [ProposalOpened(proposal(number)) for number in range(200)]
        assert at.tell(*events) == ["proposals"]
        rows = await at.rows("proposals", "open")
        assert 1 <= len(rows) <= OPEN_MAX
        assert rows[0]["id"] == "p199"
        assert await at.count("proposals", "open") == 200
        votes = msgspec.convert(rows[0]["votes"], dict[str, object])
        assert votes["count"] == 100
        assert votes["counts"] == {"accept": 99, "reject": 1}
        silent = msgspec.convert(rows[0]["silent"], dict[str, object])
        assert silent["count"] == 900


@in_loop
async def test_decisions_are_those_remembered_and_then_those_made() -> None:
    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, ProposalQuery):
            closed = tuple(proposal(n, ProposalStatus.REJECTED) for n in range(50))
            return Found(1, 0.0, False, proposals=(*closed, proposal(99)))
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        rows = await at.rows("proposals", "ended")
        assert [row["id"] for row in rows][:2] == ["p49", "p48"]
        assert len(rows) <= ENDED_MAX
        assert [row["id"] for row in await at.rows("proposals", "open")] == ["p99"]
        at.tell(ProposalDecided(proposal(99, ProposalStatus.ACCEPTED)))
        assert (await at.rows("proposals", "ended"))[0]["id"] == "p99"
        assert await at.rows("proposals", "open") == []


@in_loop
async def test_what_ends_while_the_past_is_read_is_kept_behind_it() -> None:
    peer = FakePeer()

    def reply(request: Request) -> Reply:
        match request:
            case Read(query=ProposalQuery()):
                return Found(1, 0.0, False, proposals=(proposal(1, ProposalStatus.REJECTED),))
            case Read(query=AuctionQuery()):
                for number in (1, 2):
                    peer.tell(ProposalDecided(proposal(number, ProposalStatus.REJECTED)))
                peer.tell(AuctionClosed(auction(1, AuctionStatus.AWARDED)))
                return Found(1, 0.0, False)
            case _:
                return usual(request)

    async with looked(peer) as at:
        peer.reply = reply
        assert [row["id"] for row in await at.rows("proposals", "ended")] == ["p2", "p1"]
        assert [row["id"] for row in await at.rows("auctions", "ended")] == ["l1"]


@in_loop
async def test_a_past_that_could_not_be_read_is_read_at_the_next_look() -> None:
    peer = FakePeer()

    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, ProposalQuery):
            return Found(1, 0.0, False, proposals=(proposal(1, ProposalStatus.REJECTED),))
        return usual(request)

    async with looked(peer) as at:
        peer.reply = lambda request: Overloaded("too much at once")
        with pytest.raises(Overloaded):
            await at.read("proposals")
        peer.reply = reply
        assert [row["id"] for row in await at.rows("proposals", "ended")] == ["p1"]


@in_loop
async def test_a_value_that_cannot_be_decoded_hides_nothing_else() -> None:
    async with looked() as at:
        broken = replace(proposal(1), value=b"\xff\xff", metadata=b"\xff")
        at.tell(ProposalOpened(broken), ProposalOpened(proposal(2)))
        at.tell(ParameterChanged(replace(parameter("rate", 1), value=b"\xff")))
        rows = {row["id"]: row["value"] for row in await at.rows("proposals", "open")}
        assert rows == {"p1": NOT_SHOWN, "p2": "0.1"}
        assert [row["value"] for row in await at.rows("parameters")] == [NOT_SHOWN]


@in_loop
async def test_of_many_values_the_last_ones_that_changed_are_shown_by_name() -> None:
    async with looked() as at:
        names = [f"v{number:04}" for number in range(VALUES_MAX * 2)]
        for counter, name in enumerate(names, 1):
            at.tell(ParameterChanged(parameter(name, counter)))
            at.tell(VariableChanged((variable(name, counter, counter),), PEER))
        for section in ("parameters", "variables"):
            rows = await at.rows(section)
            assert [row["name"] for row in rows] == names[VALUES_MAX:]
            assert await at.count(section) == VALUES_MAX * 2
        changed = at.tell(VariableChanged((variable("v0000", "new", 9_999),), PEER))
        assert changed == ["variables"]
        rows = await at.rows("variables")
        assert (rows[0]["name"], rows[0]["value"]) == ("v0000", "new")
        assert rows[1]["name"] == names[VALUES_MAX + 1]


@in_loop
async def test_a_deleted_variable_is_not_shown() -> None:
    async with looked() as at:
        at.tell(VariableChanged((variable("a", 1, 1), variable("b", None, 2)), PEER))
        assert [row["name"] for row in await at.rows("variables")] == ["a"]
        assert await at.count("variables") == 1


@in_loop
async def test_variables_that_came_and_went_leave_the_place_to_those_that_stay() -> None:
    names = [f"stays{number:02}" for number in range(50)]
    passing = [f"passes{number}" for number in range(VALUES_MAX * 2)]

    def tell(at: Looked, names: list[str], value: object, counter: int) -> None:
        at.tell(VariableChanged(tuple(variable(n, value, counter) for n in names), PEER))

    async with looked() as at:
        await at.read("variables")
        tell(at, names, 1, 1)
        tell(at, passing, 1, 2)
        assert await at.count("variables") == len(names) + len(passing)
        tell(at, passing, None, 3)
        for _ in range(2):
            assert [row["name"] for row in await at.rows("variables")] == names
            assert await at.count("variables") == len(names)
            # And the same when it is looked through as a whole.
            at.changed.clear()
            at.peer.tell(Dropped("daemon", EVENTS_LOST, "", 1))
            await eventually(lambda: len(at.changed) == len(SECTIONS))
        tell(at, passing[:1], 2, 4)
        assert await at.count("variables") == len(names) + 1


@in_loop
async def test_a_variable_that_a_programs_function_resolves_says_so() -> None:
    async with looked() as at:
        at.tell(VariableChanged((variable("a", 1, 1, "function"),), PEER))
        (row,) = await at.rows("variables")
        assert "resolved by a function" in str(row["value"])


@in_loop
async def test_barriers_that_are_waited_at_and_those_that_ended_are_told() -> None:
    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, GenerationQuery):
            running = generation(3, BarrierStatus.WAITING)
            return Found(1, 0.0, False, generations=(running,) * (OPEN_MAX * 2))
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        ends = [BarrierStatus.RELEASED, BarrierStatus.BROKEN]
        changed = at.tell(*(BarrierChanged(generation(n, s)) for n, s in enumerate(ends, 1)))
        assert changed == ["barriers"]
        assert [row["status"] for row in await at.rows("barriers", "ended")] == [
            "broken",
            "released",
        ]
        assert len(await at.rows("barriers", "open")) == OPEN_MAX
        assert await at.count("barriers", "open") == OPEN_MAX * 2


def task(name: str, number: int, status: TaskStatus) -> Task:
    order = TaskOrder("work", b"", Strategy.LEAST_LOADED, (), 0, 0, 0, 0, 0, "")
    return Task(TaskId(f"{name}{number}"), order, ADA, number, number, status)


@in_loop
async def test_of_many_tasks_some_of_every_state_are_shown_and_all_are_counted() -> None:
    counts = {TaskStatus.QUEUED: 9_000, TaskStatus.LEASED: 60, TaskStatus.DEAD: 9}
    tasks = [task(status.name, n, status) for status, count in counts.items() for n in range(count)]

    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, TasksQuery):
            wanted, limit = request.query.statuses, request.query.limit
            found = [one for one in reversed(tasks) if one.status in wanted]
            return Found(1, 0.0, False, tasks=tuple(found[:limit]), task_count=len(tasks))
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        rows = await at.rows("tasks", "tasks")
        assert await at.count("tasks", "tasks") == len(tasks)
    shown = [row["status"] for row in rows]
    # What takes less than its share leaves it to the others; each kind with its newest first.
    assert Counter(shown) == {"leased": 46, "queued": 45, "dead": 9}
    assert list(dict.fromkeys(shown)) == ["leased", "queued", "dead"]
    assert [rows[0]["id"], rows[46]["id"], rows[-1]["id"]] == ["LEASED59", "QUEUED8999", "DEAD0"]


@in_loop
async def test_a_task_that_moves_on_while_tasks_are_read_is_shown_once() -> None:
    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, TasksQuery):
            one = task("t", 1, request.query.statuses[0])
            return Found(1, 0.0, False, tasks=(one,), task_count=1)
        return usual(request)

    peer = FakePeer()
    peer.reply = reply
    async with looked(peer) as at:
        assert [row["id"] for row in await at.rows("tasks", "tasks")] == ["t1"]


@in_loop
async def test_accounts_show_what_moved_last() -> None:
    async with looked() as at:
        movement = Movement(1, MovementKind.MINT, "o", ADA, "", ADA, "eur", 1, "", 1, 1)
        accounts = tuple(Account(f"g:{n:03}", "eur", n * 500_000, 0) for n in range(1, 151))
        assert at.tell(LedgerChanged(movement, accounts)) == ["ledger"]
        rows = await at.rows("ledger", "accounts")
        assert [row["account"] for row in rows] == [f"g:{n:03}" for n in range(51, 151)]
        assert rows[-1]["balance"] == "75"
        assert await at.count("ledger", "accounts") == 150
        assert len(rows) == LIST_MAX


@in_loop
async def test_accounts_that_were_emptied_leave_the_place_to_those_with_money() -> None:
    movement = Movement(1, MovementKind.MINT, "o", ADA, "", ADA, "eur", 1, "", 1, 1)
    names = [f"g:stays{number:02}" for number in range(50)]
    passing = [f"g:passes{number}" for number in range(LIST_MAX * 2)]
    async with looked() as at:
        await at.read("ledger")
        for some, amount in ((names, 1), (passing, 1), (passing, 0)):
            at.tell(LedgerChanged(movement, tuple(Account(n, "eur", amount, 0) for n in some)))
        assert [row["account"] for row in await at.rows("ledger", "accounts")] == names
        assert await at.count("ledger", "accounts") == len(names)


@in_loop
async def test_of_an_auction_with_many_bids_the_last_are_shown() -> None:
    async with looked() as at:
        assert at.tell(AuctionOpened(auction(1))) == ["auctions"]
        (row,) = await at.rows("auctions", "open")
        bids = msgspec.convert(row["bids"], dict[str, object])
        assert bids["count"] == 300
        first = msgspec.convert(bids["shown"], list[dict[str, object]])[0]
        assert (first["bidder"], first["offers"]) == ("b299@ant", "1 at 299")
        # The next price follows from all bids.
        assert row["limit"] is None
        at.tell(AuctionClosed(auction(1, AuctionStatus.AWARDED)))
        assert [row["status"] for row in await at.rows("auctions", "ended")] == ["awarded"]
        assert await at.rows("auctions", "open") == []


@in_loop
async def test_letters_are_told_to_nobody_here() -> None:
    async with looked() as at:
        letter = MailArrived(1, ADA, (ADA,), "all", "topic", encoded("canary"), False, 9)
        assert at.tell(letter) == []
        for section in SECTIONS:
            assert "canary" not in repr(await at.read(section))


@in_loop
async def test_after_lost_events_everything_is_read_anew() -> None:
    async with looked() as at:
        await at.read("proposals")
        questions = (ProposalQuery,)

        def asked() -> int:
            reads = [one for one in at.peer.asked if isinstance(one, Read)]
            return sum(isinstance(one.query, questions) for one in reads)

        known = asked()
        at.changed.clear()
        at.peer.tell(Dropped("daemon", EVENTS_LOST, "", 1))
        await eventually(lambda: len(at.changed) == len(SECTIONS))
        await at.read("proposals")
        # Once for the view, and once for the decisions.
        assert asked() == known + 2


@in_loop
async def test_a_board_that_is_closed_hears_nothing_more() -> None:
    async with looked() as at:
        at.board.close()
        assert at.tell(ParameterChanged(parameter("rate", 1)), ProposalOpened(proposal(1))) == []


@pytest.mark.parametrize("section", SECTIONS)
@in_loop
async def test_nothing_that_is_asked_leaves_the_peer(section: str) -> None:
    async with looked() as at:
        await at.read(section)
        assert not at.peer.commands()
        reads = [one for one in at.peer.asked if isinstance(one, Read)]
        assert not any(one.linearizable for one in reads)
