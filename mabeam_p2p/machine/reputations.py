"""Reputations: how agents have done, in the words of those they dealt with.

1. A deal is of two agents: a paid hold, an auction's award, a finished task. Each of the two may
   rate the other once; the first rating binds. The last `deals_max` deals can be rated.
2. Of each agent and skill a distribution Beta(alpha, beta) is kept (Jøsang and Ismail 2002), from
   the prior Beta(1, 1): a score s of 0..1 adds s to alpha and 1 - s to beta. In thousandths, and in
   integers throughout.
3. Once an epoch of the log's clock, all evidence is forgotten by a twentieth, rounded down: what is
   not confirmed goes back to the prior, not to nothing.
4. Within an epoch ratings are sums: their order does not matter.
"""

from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import Rate
from mabeam_p2p.config import Limits
from mabeam_p2p.events import DealSettled, MachineEvent, ReputationChanged
from mabeam_p2p.ids import INTEGER_MAX, KEY_BYTES_MAX, AgentId, is_key
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Deal, Rating, Reputation
from mabeam_p2p.requests import Outcome, Refused

SCORE_MAX = 1_000
"""A score, and each parameter of the prior, in thousandths."""

EPOCH = 24 * 3600 * 1_000_000
"""Microseconds of the log's clock: a day."""

KEPT_NUMERATOR, KEPT_DENOMINATOR = 19, 20
"""Of the evidence, at the end of each epoch: half of it is left after two weeks."""


class ReputationsState(Struct, frozen=True, array_like=True):
    """deals: oldest first."""

    reputations: tuple[Reputation, ...] = ()
    deals: tuple[Deal, ...] = ()


class Reputations:
    """All reputations, and the deals that can be rated. Satisfies core.Deals."""

    def __init__(self, limits: Limits, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._events = events
        self._reputations: dict[tuple[str, str], Reputation] = {}
        """By (agent, skill)."""
        self._deals: OrderedDict[str, Deal] = OrderedDict()

    def settled(self, entry: Entry, deal: str, one: AgentId, other: AgentId) -> None:
        """Of core.Deals."""
        if one == other or deal in self._deals:
            return
        made = self._deals[deal] = Deal(deal, one, other, entry.index, entry.clock)
        if len(self._deals) > self._limits.deals_max:
            self._deals.popitem(last=False)
        self._events.append(DealSettled(made))

    def apply(self, entry: Entry, agent: AgentId, command: Rate) -> Outcome:
        """Refused: invalid, limit, unknown_deal, not_party, conflicting_rating, overflow."""
        if not is_key(command.skill):
            detail = f"the skill has no usable name: 1 to {KEY_BYTES_MAX} bytes of printable text"
            return Refused("invalid", detail)
        if not 0 <= command.score <= SCORE_MAX:
            return Refused("invalid", f"a score is 0 to {SCORE_MAX} thousandths")
        deal = self._deals.get(command.deal)
        if deal is None:
            return Refused("unknown_deal", f"{command.deal!r} is not settled, or too old")
        if agent not in (deal.one, deal.other):
            return Refused("not_party", f"{deal.name!r} was between {deal.one} and {deal.other}")
        about = deal.other if agent == deal.one else deal.one
        rating = Rating(agent, about, command.skill, command.score)
        for known in deal.ratings:
            if known == rating:
                return entry.committed()
            if known.agent == agent:
                detail = f"{agent} has given {about} {known.score} for {known.skill!r} already"
                return Refused("conflicting_rating", detail)
        refusal = self._add(entry, rating)
        if refusal is not None:
            return refusal
        self._deals[deal.name] = replace(deal, ratings=(*deal.ratings, rating))
        return entry.committed()

    # ---- queries ---------------------------------------------------------------------------

    def reputations(self, agent: str, skill: str, clock: int) -> tuple[Reputation, ...]:
        """Those of this agent, and of this skill; empty: of all. As they are at `clock`."""
        return tuple(
            forgotten(one, clock // EPOCH)
            for one in self._reputations.values()
            if agent in ("", one.agent) and skill in ("", one.skill)
        )

    def deals(self, agent: str) -> tuple[Deal, ...]:
        """Those of this agent; empty: all that can be rated. Oldest first."""
        return tuple(one for one in self._deals.values() if agent in ("", one.one, one.other))

    # ---- snapshots -------------------------------------------------------------------------

    def state(self) -> ReputationsState:
        return ReputationsState(tuple(self._reputations.values()), tuple(self._deals.values()))

    def load(self, state: ReputationsState) -> None:
        self._reputations = {(one.agent, one.skill): one for one in state.reputations}
        self._deals = OrderedDict((one.name, one) for one in state.deals)

    # ---- transitions -----------------------------------------------------------------------

    def _add(self, entry: Entry, rating: Rating) -> Refused | None:
        key, epoch = (rating.about, rating.skill), entry.clock // EPOCH
        known = self._reputations.get(key)
        if known is None:
            if len(self._reputations) >= self._limits.reputations_max:
                self._drop_forgotten(epoch)
            if len(self._reputations) >= self._limits.reputations_max:
                most = self._limits.reputations_max
                return Refused("limit", f"{most} reputations are kept already")
            known = Reputation(rating.about, rating.skill, SCORE_MAX, SCORE_MAX, epoch, 0)
        known = forgotten(known, epoch)
        alpha, beta = known.alpha + rating.score, known.beta + SCORE_MAX - rating.score
        if max(alpha, beta) > INTEGER_MAX:
            return Refused("overflow", "no more evidence can be counted")
        changed = replace(known, alpha=alpha, beta=beta, count=known.count + 1)
        self._reputations[key] = changed
        self._events.append(ReputationChanged(changed, rating))
        return None

    def _drop_forgotten(self, epoch: int) -> None:
        """Make room: what is back at the prior says nothing."""
        for key, one in tuple(self._reputations.items()):
            present = forgotten(one, epoch)
            if present.alpha == present.beta == SCORE_MAX:
                del self._reputations[key]


def forgotten(reputation: Reputation, epoch: int) -> Reputation:
    """What is left of it in `epoch`."""
    if epoch <= reputation.epoch:
        return reputation
    alpha, beta = reputation.alpha - SCORE_MAX, reputation.beta - SCORE_MAX
    for _ in range(epoch - reputation.epoch):
        # At most some hundred times, however long ago it was.
        if not alpha and not beta:
            break
        alpha = alpha * KEPT_NUMERATOR // KEPT_DENOMINATOR
        beta = beta * KEPT_NUMERATOR // KEPT_DENOMINATOR
    return replace(reputation, alpha=SCORE_MAX + alpha, beta=SCORE_MAX + beta, epoch=epoch)
