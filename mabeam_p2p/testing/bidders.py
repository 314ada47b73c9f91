"""What simulated agents do at auctions: open them, bid with or without money, seal, reveal, forget
to, and cancel. What comes of it, `auctions` judges from the log."""

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    CancelAuction,
    CloseSession,
    Mint,
    OpenAuction,
    OpenSession,
    PlaceBid,
    RevealBid,
    SealBid,
)
from mabeam_p2p.ids import AgentId, AuctionId, SessionId
from mabeam_p2p.machine.mechanisms.seals import seal_of
from mabeam_p2p.records import (
    AuctionRule,
    AuctionTerms,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import (
    Answer,
    AuctionQuery,
    Await,
    Committed,
    Found,
    Query,
)
from mabeam_p2p.testing.agents import SimulatedAgent, Workload
from mabeam_p2p.testing.auctions import AuctionJudge
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND

SEALED = (AuctionRule.FIRST_PRICE, AuctionRule.VICKREY, AuctionRule.COMBINATORIAL)
ITEMS = 3
LEAVES = 0.02
"""How often, in place of trading, a trader leaves and comes back."""

RECENT = 4
"""Auctions that are bid on: the last ones."""

Make = Callable[[SessionId, int], AnyCommand]
Done = Callable[[Answer], None]


class Board:
    """What bidders of one run have told each other."""

    def __init__(self, accounts: list[AgentId], judge: AuctionJudge) -> None:
        """judge: of auctions in the committed log."""
        self.accounts = accounts
        self.closed = judge.closed
        self.is_revealing = judge.is_revealing
        self.auctions: list[tuple[AuctionId, AuctionTerms]] = []
        self.openers: dict[AuctionId, AgentId] = {}


class Bidder:
    """One agent's part. submit: commits what is made for a session and number. wait: answers once
    a query is settled, or not. think: goes on with anything."""

    def __init__(
        self,
        name: AgentId,
        board: Board,
        random: Random,
        *,
        submit: Callable[[Make, Done], None],
        wait: Callable[[Query, Done], None],
        think: Callable[[], None],
    ) -> None:
        self._name = name
        self._board = board
        self._random = random
        self._submit = submit
        self._wait = wait
        self.think = think
        self._sealed: dict[AuctionId, tuple[tuple[Offer, ...], bytes]] = {}

    def act(self) -> None:
        for auction in tuple(self._sealed):
            if auction in self._board.closed:
                del self._sealed[auction]
        draw = self._random.random()
        if draw < 0.1:
            self._mint()
        elif draw < 0.15 or not self._recent():
            self._open()
        elif draw < 0.17:
            auction, _ = self._random.choice(self._recent())
            self._say(lambda session, number: CancelAuction(session, number, auction))
        elif self._sealed and (self._revealing() or draw < 0.2):
            self._reveal()
        else:
            self._bid()

    def _revealing(self) -> list[AuctionId]:
        """Those where what was sealed is to be revealed now."""
        return [auction for auction in self._sealed if self._board.is_revealing(auction)]

    def _say(self, make: Make) -> None:
        self._submit(make, lambda answer: self.think())

    def _recent(self) -> list[tuple[AuctionId, AuctionTerms]]:
        """Those that may still be open."""
        closed = self._board.closed
        return [one for one in self._board.auctions[-RECENT:] if one[0] not in closed]

    def _mint(self) -> None:
        """Whoever comes first becomes the issuer."""
        operation = f"mint-{self._random.getrandbits(60):x}"
        account = self._random.choice(self._board.accounts)
        self._say(lambda session, number: Mint(session, number, operation, account, "coin", 100))

    def _open(self) -> None:
        auction = AuctionId(f"a{self._random.getrandbits(60):x}")
        terms = self._terms()

        def opened(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._board.auctions.append((auction, terms))
                self._board.openers[auction] = self._name
                if self._random.random() < 0.5:
                    self._wait(AuctionQuery(auction), ended)
                    return
            self.think()

        def ended(answer: Answer) -> None:
            if isinstance(answer, Found):
                for told in answer.auctions:
                    if self._board.closed.get(told.id) != told:
                        raise Violation("auctions", f"{self._name} is told {told}")
            self.think()

        self._submit(
            lambda session, number: OpenAuction(session, number, auction, "lot", "all", terms),
            opened,
        )

    def _terms(self) -> AuctionTerms:
        draw = self._random
        rule = draw.choice(tuple(AuctionRule))
        side = draw.choice(tuple(Side))
        is_sealed, is_bundles = rule in SEALED, rule is AuctionRule.COMBINATORIAL
        is_english, is_dutch = rule is AuctionRule.ENGLISH, rule is AuctionRule.DUTCH
        reserve = draw.randint(0, 6) + (side is Side.REVERSE)
        currency = draw.choice(("", "coin"))
        start = reserve + 8 if side is Side.FORWARD else max(0, reserve - 8)
        return AuctionTerms(
            rule=rule,
            side=side,
            timeout=draw.choice((SECOND // 2, SECOND, 3 * SECOND)),
            quantity=1 if is_bundles else draw.randint(1, 3),
            reserve=0 if is_bundles else reserve,
            currency=currency,
            items=tuple((f"item-{n}", reserve) for n in range(ITEMS)) if is_bundles else (),
            reveal=draw.choice((SECOND, 3 * SECOND)) if is_sealed else 0,
            bond=draw.randint(0, 2) if is_sealed and currency else 0,
            increment=draw.randint(1, 2) if is_english else 0,
            extension=draw.choice((0, SECOND // 4)) if is_english else 0,
            start=start if is_dutch else 0,
            step=2 if is_dutch else 0,
            tick=SECOND // 5 if is_dutch else 0,
            bids_max=draw.choice((3, 10)),
            on_departure=draw.choice(tuple(OnBidderDeparture)),
        )

    def _bid(self) -> None:
        recent = self._recent()
        # Mostly where it can: it is not the auctioneer, and has not sealed a bid there.
        fit = [
            one
            for one in recent
            if self._board.openers[one[0]] != self._name and one[0] not in self._sealed
        ]
        if not fit and self._random.random() < 0.8:
            self.think()
            return
        auction, terms = self._random.choice(fit or recent)
        offers = self._offers(terms)
        (first, *_) = offers
        if terms.rule not in SEALED:
            self._say(
                lambda session, number: PlaceBid(
                    session, number, auction, first.price, first.quantity
                )
            )
            return
        salt = self._random.randbytes(16)
        seal = seal_of(auction, self._name, offers, salt)
        most = max(offer.price * offer.quantity for offer in offers)
        deposit = terms.bond
        if terms.currency and terms.side is Side.FORWARD:
            deposit = max(most - (self._random.random() < 0.1), terms.bond)

        def sealed(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._sealed[auction] = offers, salt
            self.think()

        self._submit(
            lambda session, number: SealBid(session, number, auction, seal, deposit, len(offers)),
            sealed,
        )

    def _offers(self, terms: AuctionTerms) -> tuple[Offer, ...]:
        draw = self._random
        if terms.rule is not AuctionRule.COMBINATORIAL:
            return (Offer(draw.randint(0, 16), draw.randint(1, terms.quantity)),)
        bundles = dict.fromkeys(
            tuple(sorted(draw.sample(range(ITEMS), draw.randint(1, ITEMS)))) for _ in range(2)
        )
        return tuple(Offer(draw.randint(0, 20), items=items) for items in bundles)

    def _reveal(self) -> None:
        auction = self._random.choice(self._revealing() or list(self._sealed))
        offers, salt = self._sealed[auction]

        def revealed(answer: Answer) -> None:
            if isinstance(answer, Committed) or self._random.random() < 0.3:
                self._sealed.pop(auction, None)
            self.think()

        self._submit(
            lambda session, number: RevealBid(session, number, auction, offers, salt), revealed
        )


class TradingAgent(SimulatedAgent):
    """One that only trades."""

    def __init__(self, workload: Workload, host: Host, number: int, board: Board) -> None:
        super().__init__(workload, host, number)
        self.name = AgentId(f"trader-{number}@peer-{host.letter.lower()}")
        self._lots = workload.simulator.stream(f"trader {host.letter}{number}")
        self._bidder = Bidder(
            self.name,
            board,
            self._lots,
            submit=lambda make, done: self.submit(make(self.session, self.number()), done),
            wait=lambda query, done: self.ask(Await(query, self.wait()), done),
            think=self.think,
        )

    def _opening(self, number: int) -> OpenSession:
        return replace(super()._opening(number), participates=False)

    def _next(self, session: SessionId) -> None:
        if not self._is_open or session != self.session:
            return
        if self._lots.random() < LEAVES:
            self._is_open = False
            close = CloseSession(self.session, self.number(), "leaves")
            self.submit(close, lambda answer: self.later(self._open))
        else:
            self._bidder.act()


def traders(workload: Workload) -> list[TradingAgent]:
    """As many on each peer as the weather says."""
    board = Board([], workload.outcomes.auctions)
    agents = [
        TradingAgent(workload, host, number, board)
        for host in workload.simulator.hosts
        for number in range(workload.weather.agents.traders)
    ]
    board.accounts.extend(agent.name for agent in agents)
    return agents
