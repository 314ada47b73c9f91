"""Which proposal `mabeam vote` and `mabeam explain` mean by the beginning of an id."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click.testing
import pytest
from msgspec.structs import replace

from mabeam_p2p.api.results import Proposal
from mabeam_p2p.cli import main
from mabeam_p2p.cli.target import Target
from mabeam_p2p.ids import ProposalId
from mabeam_p2p.records import ProposalStatus
from tests.api.fakes import proposal


class Agent:
    """Knows an open proposal and decided ones, and keeps what it was asked for."""

    def __init__(self, *, running: tuple[str, ...], decided: tuple[str, ...]) -> None:
        ids = dict.fromkeys(running, ProposalStatus.OPEN)
        ids |= dict.fromkeys(decided, ProposalStatus.REJECTED)
        self._known = tuple(
            Proposal.of(replace(proposal(), id=ProposalId(one), status=status))
            for one, status in ids.items()
        )
        self.asked: list[str] = []

    async def proposals(self) -> tuple[Proposal, ...]:
        return self._known

    async def vote(self, identity: str, choice: str, **_: object) -> None:
        self.asked.append(identity)

    async def explain(self, identity: str) -> Proposal:
        self.asked.append(identity)
        return self._known[0]


def meant(monkeypatch: pytest.MonkeyPatch, agent: Agent, *words: str) -> str:
    @asynccontextmanager
    async def reach(_: Target) -> AsyncIterator[Agent]:
        yield agent

    monkeypatch.setattr(Target, "attach", reach)
    monkeypatch.setattr(Target, "look", reach)
    done = click.testing.CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return agent.asked[-1]


@pytest.mark.parametrize(
    ("running", "decided", "said", "voted", "explained"),
    [
        (("abc1",), ("abc2",), "abc", "abc1", "abc"),
        (("abc1", "abc3"), ("abc2",), "abc", "abc", "abc"),
        (("xyz",), ("abc2",), "abc", "abc", "abc2"),
        (("abc1",), ("abc",), "abc", "abc", "abc"),
        (("abc", "abc1"), (), "abc", "abc", "abc"),
    ],
    ids=["decided", "two", "none", "decided whole", "whole"],
)
def test_the_beginning_of_an_id_is_enough_where_only_one_fits(
    monkeypatch: pytest.MonkeyPatch,
    running: tuple[str, ...],
    decided: tuple[str, ...],
    said: str,
    voted: str,
    explained: str,
) -> None:
    """To vote, of the open ones. What stands for none, or for several, is left to the log."""
    agent = Agent(running=running, decided=decided)
    assert meant(monkeypatch, agent, "vote", said, "accept") == voted
    assert meant(monkeypatch, agent, "explain", said) == explained
