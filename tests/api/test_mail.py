"""Messages as an agent sends and handles them, at a peer that answers as the test tells."""

import asyncio
from dataclasses import replace as replaced

import pytest
from msgspec.structs import replace

from mabeam_p2p import InvalidName, InvalidValue, MabeamTimeout, Message, NobodyThere, Overloaded
from mabeam_p2p.api import evaluators, mail
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.events import MailArrived
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import MailAnswer
from mabeam_p2p.requests import Done, Failed, MailSent, Refused, Request, SendMail, TakeMail
from mabeam_p2p.wire.cbor import decode_value, encode_value
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.in_loop import in_loop

ME, BEE, COW, DOG = (AgentId(name) for name in ("a@ant", "b@bee", "c@cow", "d@dog"))
NOTHING = MailSent((), (), (), (), ())


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "SETTLING_SECONDS", 0.02)
    monkeypatch.setattr(evaluators, "SETTLING_SECONDS", 0.02)


class MailPeer(FakePeer):
    """Answers every letter with `sent`."""

    def __init__(self, sent: Reply = NOTHING) -> None:
        super().__init__()
        self.sent = sent
        self.reply = self._reply

    def _reply(self, request: Request) -> Reply:
        match request:
            case SendMail():
                return self.sent
            case TakeMail():
                return Done()
            case _:
                return usual(request)

    @property
    def letters(self) -> list[SendMail]:
        return [request for request in self.asked if isinstance(request, SendMail)]

    @property
    def taken(self) -> list[TakeMail]:
        return [request for request in self.asked if isinstance(request, TakeMail)]


async def agent_at(peer: FakePeer) -> Agent:
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    agent.begin()
    return agent


def letter(topic: str = "status/loss", *, number: int = 1, asks: bool = True) -> MailArrived:
    value = encode_value({"epoch": 3}, 100)
    return MailArrived(number, BEE, (ME,), "vision", topic, value, asks, 2_000_000)


# ---- sending ---------------------------------------------------------------------------------


@in_loop
async def test_a_whisper_says_whom_it_is_for_and_how_long_its_sender_waits() -> None:
    peer = MailPeer(replace(NOTHING, delivered=(BEE,)))
    agent = await agent_at(peer)
    await agent.whisper("b@bee", "hello", [1, "x"], timeout=1.5)
    (sent,) = peer.letters
    assert (sent.sender, sent.targets, sent.topic) == ("a@ant", ("b@bee",), "hello")
    assert (decode_value(sent.value), sent.wants_answer, sent.timeout) == (
        [1, "x"],
        False,
        1_500_000,
    )


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (replace(NOTHING, unreachable=(BEE,)), NobodyThere),
        (replace(NOTHING, full=(BEE,)), Overloaded),
        (replace(NOTHING, silent=(BEE,)), MabeamTimeout),
        (Refused("nobody_there", "no agent is called b@bee"), NobodyThere),
        (Failed("overloaded", "4096 letters"), Overloaded),
    ],
)
def test_a_whisper_that_was_not_delivered_says_why(sent: Reply, error: type[Exception]) -> None:
    @in_loop
    async def check() -> None:
        agent = await agent_at(MailPeer(sent))
        with pytest.raises(error, match="b@bee"):
            await agent.whisper("b@bee", "hello", 1)

    check()


@in_loop
async def test_a_shout_tells_of_each_agent_what_became_of_it() -> None:
    peer = MailPeer(MailSent((BEE,), (COW,), (DOG,), (ME,), ()))
    agent = await agent_at(peer)
    delivery = await agent.group("vision").shout("hello", None)
    assert delivery.to_dict() == {
        "delivered": ["b@bee"],
        "overloaded": ["c@cow"],
        "unreachable": ["d@dog"],
        "silent": ["a@ant"],
    }
    assert [(one.group, one.targets) for one in peer.letters] == [("vision", ())]


@in_loop
async def test_a_query_tells_answers_errors_and_who_did_not_answer() -> None:
    answers = (MailAnswer(BEE, encode_value(0.5, 100), ""), MailAnswer(COW, b"", "no idea"))
    peer = MailPeer(MailSent((BEE, COW, DOG), (), (), (DOG,), answers))
    agent = await agent_at(peer)
    result = await agent.query("loss", None)
    assert (result.values, result.errors) == ({"b@bee": 0.5}, {"c@cow": "no idea"})
    assert (result.silent, result.is_complete) == (("d@dog",), False)
    assert replaced(result, errors={}, silent=()).is_complete
    assert peer.letters[0].wants_answer


@in_loop
async def test_what_cannot_travel_is_refused_before_anything_is_sent() -> None:
    peer = MailPeer()
    agent = await agent_at(peer)
    for wrong in (
        agent.whisper("b@bee", "hello", object()),
        agent.shout("hello", b"x" * 70_000),
        agent.shout("hello", 1, timeout=0),
    ):
        with pytest.raises(InvalidValue):
            await wrong
    with pytest.raises(InvalidName):
        await agent.shout("", 1)
    assert peer.letters == []


# ---- handling --------------------------------------------------------------------------------


async def answered(peer: MailPeer) -> TakeMail:
    await eventually(lambda: peer.taken)
    (taken,) = peer.taken
    return taken


@in_loop
async def test_what_a_handler_returns_is_the_answer() -> None:
    peer = MailPeer()
    agent = await agent_at(peer)
    seen: list[Message] = []

    @agent.on_message("status/*")
    def handle(message: Message) -> object:
        seen.append(message)
        return {"loss": 0.25}

    peer.tell(letter())
    taken = await answered(peer)
    assert (taken.agent, taken.letter, taken.error) == ("a@ant", 1, "")
    assert decode_value(taken.value) == {"loss": 0.25}
    assert (seen[0].sender, seen[0].group, seen[0].value) == ("b@bee", "vision", {"epoch": 3})


@in_loop
async def test_the_handler_of_the_group_and_of_the_closest_pattern_speaks() -> None:
    peer = MailPeer()
    agent = await agent_at(peer)
    agent.on_message("status/loss")(lambda message: "all")
    agent.group("vision").on_message("*")(lambda message: "vision")
    peer.tell(letter())
    assert decode_value((await answered(peer)).value) == "vision"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("there are no words")


@pytest.mark.parametrize("kind", ["raises", "without words", "cannot travel", "too slow", "none"])
def test_a_handler_that_goes_wrong_is_told_to_the_sender_as_data(kind: str) -> None:
    @in_loop
    async def check() -> None:
        peer = MailPeer()
        agent = await agent_at(peer)

        async def handle(message: Message) -> object:
            if kind == "raises":
                raise ValueError("no such epoch")
            if kind == "without words":
                raise Unspeakable
            if kind == "too slow":
                await asyncio.Event().wait()
            return object()

        if kind != "none":
            agent.on_message("*")(handle)
        timeout = 100_000 if kind == "too slow" else 10_000_000
        peer.tell(replace(letter(), timeout=timeout))
        taken = await answered(peer)
        words = {
            "raises": "ValueError: no such epoch",
            "without words": "Unspeakable: its text cannot be had",
            "cannot travel": "cannot travel",
            "too slow": "longer than",
            "none": "no handler",
        }
        assert words[kind] in taken.error
        assert taken.value == b""

    check()


@in_loop
async def test_a_message_that_asks_for_nothing_is_taken_without_an_answer() -> None:
    peer = MailPeer()
    agent = await agent_at(peer)
    handled = asyncio.Event()

    @agent.on_message("*")
    async def handle(message: Message) -> object:
        handled.set()
        return "nobody wants this"

    peer.tell(letter(asks=False))
    taken = await answered(peer)
    assert handled.is_set()
    assert (taken.value, taken.error) == (b"", "")


@in_loop
async def test_what_is_for_another_agent_of_the_peer_is_neither_handled_nor_told() -> None:
    peer = MailPeer()
    agent = await agent_at(peer)
    events = agent.events("mail.*")
    agent.on_message("*")(lambda message: 1)
    peer.tell(replace(letter(number=1), targets=(COW,)))
    peer.tell(letter(number=2))
    assert (await answered(peer)).letter == 2
    assert (await anext(events)).facts["topic"] == "status/loss"
    events.close()
    assert [event async for event in events] == []


@in_loop
async def test_what_comes_before_joining_has_returned_is_handled_after_it() -> None:
    peer = MailPeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    peer.tell(letter())
    await asyncio.sleep(0.01)
    assert peer.taken == []
    agent.begin()
    agent.on_message("*")(lambda message: "in time")
    assert decode_value((await answered(peer)).value) == "in time"
