"""What `mabeam status` and `mabeam score` say of a peer, over a fake one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click.testing
import msgspec
import pytest
from msgspec.structs import replace

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.cli import main
from mabeam_p2p.cli.target import Target
from mabeam_p2p.records import Status
from mabeam_p2p.requests import ReadStatus, Request, StatusAnswer
from tests.api.fakes import FakePeer, Reply, attachment, status, usual

FORMED = replace(status(), quorum=True)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[..., click.testing.Result]:
    """Runs a verb at a peer that is in a state, with words behind it."""

    def run(seen: Status, *words: str) -> click.testing.Result:
        @asynccontextmanager
        async def question(_: Target, on_lost: object = None) -> AsyncIterator[Attachment]:
            peer = FakePeer()
            peer.reply = reply
            yield attachment(peer)

        def reply(request: Request) -> Reply:
            return StatusAnswer(seen) if isinstance(request, ReadStatus) else usual(request)

        monkeypatch.setattr(Target, "question", question)
        return click.testing.CliRunner().invoke(main, words, catch_exceptions=False)

    return run


def lines(result: click.testing.Result) -> dict[str, str]:
    """Facts by their names."""
    assert result.exit_code == 0, result.stderr
    return {line[:17].strip(): line[17:] for line in result.stdout.splitlines()}


@pytest.mark.parametrize(
    ("was_ready", "quorum", "text"),
    [(True, True, "yes"), (True, False, "no"), (False, True, "no"), (False, False, "no")],
)
def test_a_peer_is_ready_while_it_has_what_it_needs_and_a_quorum(
    said: Callable[..., click.testing.Result], was_ready: bool, quorum: bool, text: str
) -> None:
    seen = replace(FORMED, ready=was_ready, quorum=quorum)
    assert lines(said(seen, "status"))["ready"] == text
    told = msgspec.json.decode(said(seen, "status", "--json").stdout)
    assert told["ready"] is (text == "yes")


@pytest.mark.parametrize(("count", "text"), [(1, "1 peer"), (2, "2 peers")])
def test_a_peer_in_no_cluster_waits_for_a_new_one_or_for_who_gave_it_its_code(
    said: Callable[..., click.testing.Result], count: int, text: str
) -> None:
    alone = replace(FORMED, voters=(), quorum=False, ready=False, expect=3, alive_count=count)
    assert lines(said(alone, "status"))["alive"] == (
        f"no cluster yet: {count} of the 3 peers that form a new one; with a join code it waits for"
        " who gave that"
    )
    assert lines(said(replace(FORMED, alive_count=count), "status"))["alive"] == text


def test_who_is_to_let_a_voter_lead_is_told_what_lets_it(
    said: Callable[..., click.testing.Result],
) -> None:
    """A score makes a peer fit again; `eligible = false` stays with the peer until it ends."""
    stuck = replace(FORMED, quorum=False, nobody_eligible=True)
    note = said(stuck, "status").stderr
    assert "say `mabeam score 50` at one that is unfit" in note
    assert "start one that has `eligible = false` again without that" in note


def test_how_long_a_score_holds_is_said_by_the_verb() -> None:
    text = click.testing.CliRunner().invoke(main, ["score", "--help"]).stdout
    assert "until the next word, or until the peer ends" in " ".join(text.split())
