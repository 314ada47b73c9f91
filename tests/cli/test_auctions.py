"""`mabeam auction` at three daemons, of which one is killed at the end."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.cli.daemons import SECONDS, Daemon, environment, house, leader, mabeam, told, until

NAMES = ("ant", "bee", "cow")
ANT, BEE, COW = "ant@ant", "bee@bee", "cow@cow"
AT_BEE, AT_COW = ("--addr", "bee"), ("--addr", "cow")


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, Daemon]]:
    with house(is_patient=True) as place:
        started = dict(zip(NAMES, place.started(*NAMES), strict=True))
        told("ledger", "mint", "coin", "100")
        for account in (BEE, COW):
            told("ledger", "transfer", account, "coin", "30")
        yield started


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("daemons")]


PATIENT = f"""
from mabeam_p2p.api import market
from mabeam_p2p.cli import main

market.END_GRACE_SECONDS = {SECONDS}
main()
"""
"""Standing still does not count in the log, and for who waits it does."""


def auction(*arguments: str) -> Any:
    return told("auction", *arguments)


def refusal(*arguments: str) -> str:
    """What is said of a verb that is refused."""
    result = mabeam("auction", *arguments)
    assert result.exit_code == 1, result.stderr
    return result.stderr


def balances(*at: str) -> dict[str, tuple[str, str]]:
    accounts = told("ledger", "balances", "coin", *at)["accounts"]
    assert isinstance(accounts, list)
    return {one["account"]: (one["balance"], one["held"]) for one in accounts}


def started(*arguments: str) -> "subprocess.Popen[str]":
    """A verb that waits, as a process."""
    return subprocess.Popen(
        [sys.executable, "-c", PATIENT, "auction", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Its exit code, and the object that it has printed."""
    printed, said = process.communicate(timeout=2 * SECONDS)
    assert printed, said
    return process.returncode, msgspec.json.decode(printed, type=dict[str, Any])


def test_an_english_auction_is_opened_bid_on_listed_and_awarded() -> None:
    waiting = started(
        *("open", "gpu-hour", "--id", "english", "--rule", "english", "--currency", "coin"),
        *("--reserve", "2.5", "--increment", "0.5", "--timeout", "15"),
    )
    until(lambda: mabeam("auction", "show", "english").exit_code == 0)
    assert "at least 2500000 micro-units" in refusal("bid", "english", "2", *AT_BEE)
    bid = auction("bid", "english", "2.5", *AT_BEE)
    assert bid == {"auction": "english", "price": "2.5", "units": 1}
    until(lambda: auction("show", "english")["limit"] == "3")
    auction("bid", "english", "3", *AT_COW)
    assert "insufficient funds" in refusal("bid", "english", "31", *AT_BEE)
    assert "your own auction" in refusal("bid", "english", "4")
    code, told_at_end = ended(waiting)
    assert (code, told_at_end["status"]) == (0, "awarded")
    (award,) = told_at_end["awards"]
    assert (award["bidder"], award["payment"]) == (COW, "3")
    until(lambda: balances(*AT_COW)[COW] == ("27", "0"))
    assert balances(*AT_COW)[BEE] == ("30", "0")
    until(lambda: auction("list", *AT_BEE)["auctions"] == [told_at_end])
    text = mabeam("auction", "show", "english").stdout
    assert "awarded" in text
    assert COW in text


def test_a_sealed_bid_waits_and_reveals_itself_or_is_revealed_with_its_salt() -> None:
    opened = auction(
        *("open", "disk", "--no-wait", "--id", "sealed", "--currency", "coin", "--bond", "1"),
        *("--timeout", "15", "--reveal", "15"),
    )
    assert (opened["status"], opened["rule"]) == ("open", "vickrey")
    waiting = started("bid", "sealed", "9", *AT_BEE)
    kept = auction("bid", "sealed", "7", "--no-wait", *AT_COW)
    assert kept["reveal"] == f"mabeam auction reveal sealed 7 --salt {kept['salt']}"
    assert "bidding goes on" in refusal("reveal", "sealed", "7", "--salt", kept["salt"], *AT_COW)
    until(lambda: auction("show", "sealed", *AT_COW)["status"] == "revealing")
    assert "wrong seal" in refusal("reveal", "sealed", "8", "--salt", kept["salt"], *AT_COW)
    auction("reveal", "sealed", "7", "--salt", kept["salt"], *AT_COW)
    code, told_at_end = ended(waiting)
    assert code == 0
    (award,) = told_at_end["awards"]
    assert (award["bidder"], award["payment"]) == (BEE, "7")


def test_items_are_bid_on_together_and_an_unsold_auction_exits_with_one() -> None:
    opened = auction(
        *("open", "machines", "--no-wait", "--id", "items", "--rule", "combinatorial"),
        *("--item", "gpu=2", "--item", "disk", "--timeout", "0.5", "--reveal", "0.5"),
    )
    assert opened["items"] == {"gpu": "2", "disk": "0"}
    assert opened["exact"]
    result = mabeam("auction", "open", "nothing", "--timeout", "0.3", "--json")
    assert result.exit_code == 1
    assert '"unsold"' in result.stdout


def test_an_auction_without_bids_is_cancelled() -> None:
    auction("open", "mistake", "--no-wait", "--id", "mistake", "--timeout", "60")
    assert "ask its auctioneer" in refusal("cancel", "mistake", *AT_BEE)
    assert auction("cancel", "mistake", "--reason", "no need")["status"] == "cancelled"
    assert "no auction" in refusal("show", "other")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("open", "x", "--rule", "english"), "give `increment=`"),
        (("open", "x", "--reserve", "many"), "no number"),
        (("open", "x", "--rule", "candle"), "candle"),
        (("bid", "mistake", "1", "--item", "gpu"), "it has no items"),
        (("reveal", "mistake", "1", "--salt", "xyz"), "not hexadecimal"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...], complaint: str) -> None:
    result = mabeam("auction", *arguments)
    assert result.exit_code == 2, result.stderr
    assert complaint in result.stderr


def test_an_auction_outlives_the_leader_and_both_others_see_one_award(
    daemons: dict[str, Daemon],
) -> None:
    before = balances(*AT_COW)
    killed = leader()
    survivors = [name for name in NAMES if name != killed]
    bidder = survivors[1]
    auction(
        *("open", "gpu-hour", "--no-wait", "--id", "outlives", "--rule", "english"),
        *("--currency", "coin", "--increment", "1", "--timeout", "10", "--addr", survivors[0]),
    )
    auction("bid", "outlives", "5", "--addr", bidder)
    daemons[killed].signal(signal.SIGKILL)

    def seen(name: str) -> Any:
        return auction("show", "outlives", "--addr", name)

    until(lambda: all(seen(name)["status"] == "awarded" for name in survivors))
    first, second = map(seen, survivors)
    assert first == second
    (award,) = first["awards"]
    assert (award["bidder"], award["payment"]) == (f"{bidder}@{bidder}", "5")
    after = balances("--addr", survivors[0])
    paid, had = (float(each[f"{bidder}@{bidder}"][0]) for each in (after, before))
    assert paid == had - 5
    assert sum(float(one) + float(other) for one, other in after.values()) == 100
