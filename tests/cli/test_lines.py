"""What verbs print of others in lines: the exact values, and no sign that a terminal obeys."""

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.api.entries import Entry
from mabeam_p2p.api.results import Change, Event, Proposal
from mabeam_p2p.cli import ballots, journal, main, output, streams, target, variables
from mabeam_p2p.cli.target import Target
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Choice, Vote
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import proposal

HOSTILE = "two\nlines \x1b[2J\x9b2J\u202e"
"""A line break, two that clear a terminal, and one that turns the rest around."""
PLAINLY = "two\\nlines \\u001b[2J\\u009b2J\\u202e"
HERE = Target("c", None, None, as_json=False)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "-", "1", "null", "[]", '"x"', " x", "x ", "NaN", '"x']),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_in_a_line_is_the_one_that_an_argument_so_written_gives(value: object) -> None:
    shown = output.exact(value)
    kinds = {sign: unicodedata.category(sign) for sign in shown}
    hidden = {sign for sign, kind in kinds.items() if kind[0] == "C" or kind in ("Zl", "Zp")}
    assert hidden <= {"\u200c", "\u200d"}
    assert shown == shown.strip() != ""
    read = target.value(shown)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.003125, "0.003125"),
        (1234567.0, "1234567.0"),
        (None, "null"),
        ([], "[]"),
        ("", '""'),
        ("0.5", '"0.5"'),
        ("adam w", "adam w"),
        ("学習率を\u3000下げる", "学習率を\u3000下げる"),
        ("می\u200cبینم", "می\u200cبینم"),
        ("[" * 100_000, "[" * 100_000),
        ([[1, 2], [3]], "[[1,2],[3]]"),
        (True, "true"),
        ({"a": HOSTILE}, f'{{"a":"{PLAINLY}"}}'),
        (b"hi", '"aGk="'),
    ],
)
def test_a_value_in_a_line_is_neither_rounded_nor_flattened(value: object, text: str) -> None:
    assert output.exact(value) == text


def opened(value: object, rationale: str = "", votes: tuple[Vote, ...] = ()) -> Proposal:
    record = replace(proposal(votes=votes), value=encode_value(value, 100), rationale=rationale)
    return Proposal.of(record)


class Looking:
    """What a daemon knows, for `Target.look`."""

    def __init__(self, *known: Proposal) -> None:
        self._known = known

    async def proposals(self) -> tuple[Proposal, ...]:
        return self._known


def run(monkeypatch: pytest.MonkeyPatch, known: Looking, *words: str) -> click.testing.Result:
    @asynccontextmanager
    async def look(_: Target) -> AsyncIterator[Looking]:
        yield known

    monkeypatch.setattr(Target, "look", look)
    return click.testing.CliRunner().invoke(main, words, catch_exceptions=False)


def test_proposals_are_listed_with_the_very_values_that_are_voted_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Looking(*map(opened, (0.003125, "", [], None, HOSTILE)))
    heading, *lines = run(monkeypatch, known, "proposals").stdout.splitlines()
    at = heading.index("VALUE")
    shown = [line[at : heading.index("STATUS")].strip() for line in lines]
    assert shown == ["0.003125", '""', "[]", "null", f'"{PLAINLY}"']


def test_what_voters_and_proposers_say_stays_on_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    votes = (Vote(AgentId("a@ant"), Choice.ACCEPT, 1_000, HOSTILE, 3, 3),)
    ballots._print(HERE, opened(0.003125, HOSTILE, votes))
    first, _, *said = capsys.readouterr().out.splitlines()
    assert first == "rate = 0.003125: open"
    assert said == [f"  “{PLAINLY}”", f"  accept  a@ant  “{PLAINLY}”"]


def test_an_entry_of_the_log_is_one_line_of_exact_facts(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"parameter": "lr", "value": 0.003125, "rationale": HOSTILE, "metadata": None}
    journal._print(HERE, Entry(7, 2, 0.0, "OpenProposal", facts))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f'value=0.003125 rationale="{PLAINLY}" metadata=null')
    assert line.isprintable()


def test_an_event_is_one_line_of_exact_facts(capsys: pytest.CaptureFixture[str]) -> None:
    streams._print(HERE, Event("parameter.changed", {"value": 1234567.0, "reverted": HOSTILE}))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f'value=1234567.0 reverted="{PLAINLY}"')
    assert line.isprintable()


def test_a_change_that_is_watched_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for value in (HOSTILE, "1", "adam"):
        variables._print_change(HERE, Change("lr", value, 1, initial=True))
    assert capsys.readouterr().out.splitlines() == [f'lr "{PLAINLY}"', 'lr "1"', "lr adam"]


def test_cells_keep_their_table_in_shape(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("WHO", "NOTE"), [("ant", HOSTILE), ("bee", [HOSTILE, "x"])])
    output.facts({"note": HOSTILE})
    assert capsys.readouterr().out.splitlines() == [
        "WHO  NOTE",
        f"ant  {PLAINLY}",
        f"bee  {PLAINLY}, x",
        f"note  {PLAINLY}",
    ]


def test_a_word_for_a_person_may_have_lines_and_no_other_signs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.note(HOSTILE)
    assert capsys.readouterr().err == PLAINLY.replace("\\n", "\n") + "\n"
