"""Reputations: how agents have done, in the words of those they dealt with."""

import math
from collections.abc import Callable

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.holdings import PARTS, Deal, Reputation
from mabeam_p2p.api.results import Level
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import Rate
from mabeam_p2p.errors import InvalidName, InvalidValue
from mabeam_p2p.ids import CLUSTER_SESSION, check_key, is_agent_id, scoped
from mabeam_p2p.requests import ReputationQuery


class Reputations:
    """What is thought of the agents' skills. Skills are named within the group."""

    def __init__(
        self, group: str, attachment: Attachment, session: Session, agent: Callable[[], str]
    ) -> None:
        """Not for users."""
        self._group = group
        self._attachment = attachment
        self._session = session
        self._agent = agent

    async def of(
        self,
        agent: str,
        skill: str,
        *,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Reputation:
        """Of an agent of whom nothing is known it is Beta(1, 1): a score of one half."""
        if not is_agent_id(agent):
            raise InvalidName(f"{agent!r} is no agent's id: take NAME@PEER")
        name = self._skill(skill)
        found = await self._attachment.find(
            ReputationQuery(agent, name),
            f"reading the reputation of {agent}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        known = found.reputations[:1]
        return Reputation.of(known[0]) if known else Reputation(agent, name, 1.0, 1.0, 0)

    async def known(
        self,
        agent: str | None = None,
        *,
        skill: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Reputation, ...]:
        """What has been said of the group's skills, or of this one; of all agents, or of this one.
        The best come first."""
        if agent is not None and not is_agent_id(agent):
            raise InvalidName(f"{agent!r} is no agent's id: take NAME@PEER")
        found = await self._attachment.find(
            ReputationQuery(agent or "", "" if skill is None else self._skill(skill)),
            "reading reputations",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        prefix = scoped(self._group, "")
        seen = [Reputation.of(one) for one in found.reputations if one.skill.startswith(prefix)]
        return tuple(sorted(seen, key=lambda one: (-one.score, one.agent, one.skill)))

    async def report(
        self, deal: str, score: float, *, skill: str, timeout: float | None = None
    ) -> None:
        """Say how the other party of a deal did, once. score: 0..1, kept in thousandths.

        Raises NotParty, and Rejected with reason unknown_deal, or conflicting_rating if this agent
        has said otherwise.
        """
        if not (math.isfinite(score) and 0 <= score <= 1):
            raise InvalidValue(f"score {score!r}: take a number from 0 to 1")
        name = check_key(deal, "deal")
        command = Rate(CLUSTER_SESSION, 0, name, self._skill(skill), round(score * PARTS))
        timing = self._attachment.timing
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        await self._session.commit(command, f"rating deal {deal!r}", seconds)

    async def deals(
        self,
        agent: str | None = None,
        *,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Deal, ...]:
        """Those of the agent, of this one by default, that can still be rated; oldest first."""
        party = self._agent() if agent is None else agent
        found = await self._attachment.find(
            ReputationQuery(party, ""),
            f"reading the deals of {party}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        return tuple(map(Deal.of, found.deals))

    def _skill(self, skill: str) -> str:
        return check_key(scoped(self._group, check_key(skill, "skill")), "skill")
