"""One agent of the example: walks, shares its steps, and votes on the rate of chance.

What it does in each round, for one seed after the other:

1. It walks once, and appends its steps to the journal of the seed. A meeting: all have.
2. It reads what is new there and learns from it, in the order of the log: every agent has the same
   steps in the same order, and so, bit by bit, the same table of values.
3. The agent whose turn it is proposes the rate of chance that it would take next; each votes by its
   own last walk. A meeting: it is decided. What was agreed is the rate of the next round.

The lake is solved when the way that is best by the table leads to the goal.
"""

import hashlib
import struct
from functools import partial

from examples.common.peer import Meeting, Setup, leader_of, patiently, run, tell
from examples.multi_agent_rl import lake
from examples.multi_agent_rl.lake import Lake, Learner, Step
from mabeam_p2p import Decision, Proposal, ProposalTimeout, Vote
from mabeam_p2p.blocking import Agent

PARAMETER = "exploration_rate"
BALLOT_SECONDS = 10.0
MEETING_SECONDS = 10.0
"""How long a round waits for one that was killed."""
BEGIN_SECONDS = 60.0
"""How long a seed waits for one that is being started again."""


class Walker:
    """An agent's part in one seed."""

    def __init__(self, agent: Agent, setup: Setup, seed: int) -> None:
        self.learner = Learner()
        self._agent = agent
        self._seed = seed
        self._lake = Lake()
        self._draw = lake.draw_of(seed, setup.number)
        self._journal = agent.journal(f"steps/{seed}")
        self._position = 1
        self._meeting = Meeting(agent, len(setup.names))
        self._wish = lake.RATE_FIRST
        self._rate = lake.RATE_FIRST

    def judge(self, proposal: Proposal) -> Vote:
        wish = self._wish
        why = f"my last walk makes me wish for {wish:g}"
        return Vote.accept(why) if lake.accepts(wish, proposal.value) else Vote.reject(why)

    def search(self, rounds: int) -> None:
        self._meeting.meet(f"begin {self._seed}", BEGIN_SECONDS)
        for number in range(1, rounds + 1):
            steps = self.learner.walk(self._lake, self._rate, self._draw)
            self._wish = lake.wish(self.learner, steps)
            shared = {"round": number, "agent": self._agent.id, "steps": lake.packed(steps)}
            patiently(partial(self._journal.append, shared))
            parties = self._meeting.meet(f"{self._seed}/{number} walked", MEETING_SECONDS)
            self.learner.learn(self._new_steps(number))
            is_solved = self.learner.solves(self._lake)
            tell(
                "round",
                seed=self._seed,
                round=number,
                rate=self._rate,
                solved=is_solved,
                digest=digest(self.learner),
                leader=leader_of(self._agent),
            )
            if is_solved:
                return
            self._agree(number, parties)

    def _new_steps(self, number: int) -> list[Step]:
        """Of all agents, in the order of the log. One that was late stands in the next round."""
        steps: list[Step] = []
        items = patiently(partial(self._journal.read, self._position))
        for item in items:
            if item.value["round"] > number:
                # Somebody is quicker than this agent: its next steps are read in their turn.
                break
            self._position = item.position + 1
            steps += lake.unpacked(item.value["steps"])
        return steps

    def _agree(self, number: int, parties: tuple[str, ...]) -> None:
        """Vote on the rate of the next round; without an agreement it stays."""
        agent = self._agent
        # Who came first is another one each time; by name, so that all know whose turn it is.
        if sorted(parties)[number % len(parties)] == agent.id:
            decision = patiently(self._propose)
            tell("decided", seed=self._seed, round=number, **facts(decision))
        self._meeting.meet(f"{self._seed}/{number} decided", BALLOT_SECONDS + 5.0)
        self._rate = agent.parameters.get(f"{PARAMETER}/{self._seed}", lake.RATE_FIRST)

    def _propose(self) -> Decision | None:
        try:
            return self._agent.propose(
                f"{PARAMETER}/{self._seed}",
                self._wish,
                rationale="what my last walk makes me wish for",
                timeout=BALLOT_SECONDS,
            )
        except ProposalTimeout:
            return None


def facts(decision: Decision | None) -> dict[str, object]:
    if decision is None:
        return {"status": "unknown", "accepts": 0, "votes": 0}
    accepts = sum(vote.choice == "accept" for vote in decision.votes)
    return {"status": decision.status, "accepts": accepts, "votes": len(decision.votes)}


def digest(learner: Learner) -> str:
    """Of the table of values, bit by bit."""
    values = [value for row in learner.values for value in row]
    return hashlib.blake2b(struct.pack(f"<{len(values)}d", *values), digest_size=8).hexdigest()


def main(agent: Agent, setup: Setup) -> None:
    for seed in setup.task["seeds"]:
        walker = Walker(agent, setup, seed)
        agent.on_proposal(f"{PARAMETER}/{seed}")(walker.judge)
        walker.search(setup.task["rounds"])


if __name__ == "__main__":
    run(main)
