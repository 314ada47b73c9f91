"""`mabeam ledger` at three daemons."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemons import House, house, mabeam, told, until

NAMES = ("ant", "bee", "cow")
LAB = ("--group", "lab")
ANT, BEE = "ant@ant", "bee@bee"


@pytest.fixture(scope="module")
def place() -> Iterator[House]:
    with house(is_patient=True) as place:
        place.started(*NAMES)
        yield place


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def ledger(*arguments: str) -> Any:
    return told("ledger", *arguments)


def refusal(*arguments: str) -> str:
    """What is said of a verb that is refused."""
    result = mabeam("ledger", *arguments)
    assert result.exit_code == 1, result.stderr
    return result.stderr


def balance(account: str, currency: str) -> tuple[str, str] | None:
    """Balance and held, as peer cow knows."""
    for one in ledger("balances", currency, "--addr", "cow")["accounts"]:
        if one["account"] == account:
            return one["balance"], one["held"]
    return None


def test_money_is_minted_paid_and_burned_and_every_peer_knows() -> None:
    minted = ledger("mint", "gpu_s", "1000.5", "--operation", "first")
    assert minted["operation"] == "first"
    assert ledger("mint", "gpu_s", "1000.5", "--operation", "first") == minted
    ledger("transfer", BEE, "gpu_s", "0.5", "--note", "for run 7")
    ledger("burn", "gpu_s", "1")
    until(lambda: balance(ANT, "gpu_s") == ("999", "0"))
    assert balance(BEE, "gpu_s") == ("0.5", "0")
    (currency,) = ledger("currencies")["currencies"]
    assert currency == {
        "name": "gpu_s",
        "issuer": ANT,
        "minted": "1000.5",
        "burned": "1",
    }
    last = ledger("history", "--limit", "2")["movements"]
    assert [(one["kind"], one["amount"], one["note"]) for one in last] == [
        ("transfer", "0.5", "for run 7"),
        ("burn", "1", ""),
    ]
    assert [one["number"] for one in ledger("history", "--first", "2")["movements"]] == [2, 3]


def test_what_cannot_be_paid_is_refused_with_a_reason() -> None:
    assert "insufficient funds" in refusal("transfer", ANT, "gpu_s", "7", "--addr", "bee")
    assert "is issued by ant@ant" in refusal("mint", "gpu_s", "7", "--addr", "bee")
    assert "unknown currency" in refusal("transfer", BEE, "gold", "7")
    assert "not owner" in refusal("transfer", BEE, "gpu_s", "1", "--source", BEE)


@pytest.mark.parametrize(
    ("amount", "complaint"),
    [
        ("0", "more than 0"),
        ("0.0000001", "6 decimals"),
        ("nan", "no amount"),
        ("many", "no number"),
        ("1e30", "too much"),
    ],
)
def test_what_is_no_amount_is_wrong_usage(amount: str, complaint: str) -> None:
    result = mabeam("ledger", "transfer", BEE, "gpu_s", amount)
    assert result.exit_code == 2, result.stderr
    assert complaint in result.stderr


def test_money_is_held_for_a_payee_who_is_paid_and_rated() -> None:
    ledger("mint", "fee", "10")
    held = ledger("hold", "fee", "10", "--payee", BEE, "--expires", "600", "--operation", "h")
    assert held == {"hold": "h", "amount": "10", "payee": BEE}
    (seen,) = ledger("holds")["holds"]
    assert (seen["id"], seen["payee"], seen["amount"]) == ("h", BEE, "10")
    assert "not owner" in refusal("release", "h")
    ledger("capture", "h", "4", "--addr", "bee")
    ledger("release", "h", "--addr", "bee")
    until(lambda: balance(ANT, "fee") == ("6", "0"))
    assert balance(BEE, "fee") == ("4", "0")
    (deal,) = ledger("deals", "--addr", "bee")["deals"]
    assert (deal["id"], deal["parties"]) == ("hold/h", [ANT, BEE])
    ledger("rate", "hold/h", "0.9", "--skill", "judging")
    assert "conflicting rating" in refusal("rate", "hold/h", "0.1", "--skill", "judging")
    assert "not party" in refusal("rate", "hold/h", "0.1", "--skill", "x", "--addr", "cow")
    (seen,) = ledger("reputation", BEE)["reputations"]
    assert (seen["skill"], seen["alpha"], seen["beta"], seen["count"]) == ("judging", 1.9, 1.1, 1)


def test_a_budget_is_spent_while_a_command_succeeds() -> None:
    ledger("set-budget", "week", "10")
    assert ledger("set-budget", "sweep", "6", "--parent", "week")["parent"] == "week"
    done = ledger("spend", "sweep", "4", "--addr", "bee")
    assert done == {"budget": "sweep", "spent": "4", "exit_code": 0}
    failing = ("spend", "sweep", "2", "--", sys.executable, "-c", "exit(7)")
    assert mabeam("ledger", *failing).exit_code == 7
    assert "of 6000000 micro-units in 'sweep'" in refusal("spend", "sweep", "2.5")
    seen = {one["name"]: one for one in ledger("budgets")["budgets"]}
    assert [(seen[name]["spent"], seen[name]["free"]) for name in ("week", "sweep")] == [
        ("4", "6"),
        ("4", "2"),
    ]
    assert "budget in use" in refusal("remove-budget", "week")
    ledger("remove-budget", "sweep")
    assert "set it first" in refusal("spend", "sweep", "1")


def test_what_is_spent_on_does_not_outlive_its_reservation(tmp_path: Path) -> None:
    ledger("set-budget", "hour", "5")
    mark = tmp_path / "mark"
    script = (
        f"trap 'echo ended > {mark}; exit 3' TERM; echo here > {mark}; while :; do sleep 0.05; done"
    )
    verb = (sys.executable, "-m", "mabeam_p2p", "ledger", "spend", "hour", "2")
    process = subprocess.Popen([*verb, "--", "sh", "-c", script])
    try:
        until(lambda: mark.exists() and mark.read_text() == "here\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert mark.read_text() == "ended\n"
    (seen,) = [one for one in ledger("budgets")["budgets"] if one["name"] == "hour"]
    assert (seen["spent"], seen["reserved"]) == ("0", "0")


def test_names_of_a_group_are_its_own() -> None:
    minted = ledger("mint", "credit", "5", "--group", "lab", "--account", "purse")
    assert minted["index"] > 0
    # The daemon's own agent issues the currency, but is not in the group.
    assert "not owner" in refusal("transfer", BEE, "credit", "1", "--source", "purse", *LAB)
    (seen,) = ledger("balances", "--group", "lab")["accounts"]
    assert (seen["account"], seen["currency"]) == ("lab:purse", "lab:credit")


def test_tables_are_for_persons() -> None:
    text = mabeam("ledger", "balances").stdout
    assert text.startswith("ACCOUNT")
    assert "lab:purse" in text
    for verb in ("currencies", "holds", "history", "budgets", "deals", "reputation"):
        result = mabeam("ledger", verb)
        assert result.exit_code == 0, result.stderr
        assert len(result.stdout.splitlines()) >= 1
    minted = mabeam("ledger", "mint", "gpu_s", "1")
    assert "minted 1 gpu_s" in minted.stderr
