"""Bugs of reports by way of a coordinator."""

from tools.planted.base import Edit, Mutant

RELAY = "mabeam_p2p/protocol/relay.py"
PENDING = "mabeam_p2p/protocol/pending.py"
DISPATCH = "mabeam_p2p/protocol/node/dispatch.py"
CODEC = "mabeam_p2p/wire/codec.py"

CORE = "mabeam_p2p/protocol/core.py"

MUTANTS = (
    Mutant(
        "heard-forgotten",
        "of a peer that is no member any more, copies are heard anew",
        (
            Edit(
                DISPATCH,
                "        self._mail.restarted(peer)\n",
                "        self._mail.restarted(peer)\n"
                "        self._forwards_heard._last.pop(peer, None)\n",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "heard-unbounded",
        "numbers of peers that are gone are remembered without a bound",
        (Edit(CORE, "if len(self._last) > HEARD_PEERS_MAX:", "if False:"),),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "heard-first",
        "of too many peers, the one that was met first is forgotten, though it is heard",
        (Edit(CORE, "last = self._last.pop(source, 0)", "last = self._last.get(source, 0)"),),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "M26a",
        "a coordinator passes a report on as often as it comes",
        (Edit(RELAY, "if not self._heard.is_new(source, message.number):", "if False:"),),
        ("tests/protocol/test_relay.py",),
    ),
    Mutant(
        "M26b",
        "what was lost with its coordinator goes to the coordinator again",
        (
            Edit(
                PENDING,
                "again = [key for key in keys if self._is_direct(key)]",
                "again: list[Key] = []",
            ),
            Edit(
                PENDING,
                "first = [key for key in keys if not self._is_direct(key)]",
                "first = keys",
            ),
        ),
        ("tests/bad_days/test_coordinator_killed.py",),
    ),
    Mutant(
        "M26c",
        "a refusal is believed of what may have been taken on another way",
        (Edit(PENDING, "and is_last and entry.given_count == 1:", "and is_last:"),),
        ("tests/protocol/test_pending.py",),
    ),
    Mutant(
        "M26d",
        "a leader hears what a coordinator passes on as often as it comes",
        (
            Edit(
                DISPATCH,
                "self._append(source, message, self._relayed_heard, now)",
                "self._append(source, message, HeardNumbers(), now)",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "M26e",
        "a coordinator does not look at the commands that it passes on",
        (
            Edit(
                CODEC,
                "                | Relay(count=count, blob=blob)\n",
                "",
            ),
        ),
        ("tests/wire/test_codec.py",),
    ),
    Mutant(
        "M26f",
        "every process of a peer counts its questions from 1",
        (
            Edit(
                CORE,
                "return epoch % EPOCHS_TOLD_APART << NUMBER_BITS",
                "return 0",
            ),
        ),
        ("tests/protocol/test_variables_acks.py", "tests/protocol/test_node.py"),
    ),
)
