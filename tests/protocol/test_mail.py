from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import AgentId
from mabeam_p2p.messages import Letter, LetterAnswer, LetterReceipt
from mabeam_p2p.protocol.core import numbers_before
from mabeam_p2p.records import MailAnswer
from mabeam_p2p.requests import Failed, MailSent, Refused
from tests.protocol.post_office import SECOND, PostOffice, peer_id


def refusal(office: PostOffice, token: int) -> str:
    (answer,) = office.answers[token]
    assert isinstance(answer, Refused | Failed)
    return answer.reason


# ---- one letter ------------------------------------------------------------------------------


def test_a_letter_lies_in_the_mailbox_and_its_sender_gets_a_receipt() -> None:
    office = PostOffice("x@a", "y@b", "z@b")
    token = office.send("x@a", "y@b", value=b"\x07")
    office.deliver()
    (arrived,) = office.arrived["b"]
    assert (arrived.sender, arrived.targets, arrived.value) == ("x@a", ("y@b",), b"\x07")
    assert office.is_open(token)
    office.deliver()
    assert office.sent(token) == MailSent((AgentId("y@b"),), (), (), (), ())


def test_one_letter_goes_to_each_peer_and_to_all_its_agents_of_the_group_but_the_sender() -> None:
    office = PostOffice()
    for name, groups in (("x@a", "g"), ("w@a", "g"), ("y@b", "g"), ("z@b", "g"), ("v@b", "h")):
        office.join(name, groups)
    token = office.send("x@a", group="g")
    letters = [message for _, _, message in office.travelling]
    assert [message.targets for message in letters if isinstance(message, Letter)] == [
        ("y@b", "z@b")
    ]
    office.deliver_all()
    assert office.sent(token).delivered == ("w@a", "y@b", "z@b")


def test_a_letter_to_a_group_is_not_for_agents_that_yield_but_one_by_name_is() -> None:
    office = PostOffice("x@a", "y@b")
    office.join("daemon@b", yields=True)
    office.join("daemon@c", "g", yields=True)
    token = office.send("x@a")
    office.deliver_all()
    assert office.sent(token).delivered == ("y@b",)
    assert refusal(office, office.send("x@a", group="g")) == "nobody_there"
    named = office.send("x@a", "daemon@b")
    office.deliver_all()
    assert office.sent(named).delivered == ("daemon@b",)


def test_an_agent_of_the_same_peer_is_reached_without_the_network() -> None:
    office = PostOffice("x@a", "w@a")
    token = office.send("x@a", "w@a")
    assert office.travelling == []
    assert office.sent(token).delivered == ("w@a",)
    assert len(office.arrived["a"]) == 1


def test_a_local_receipt_does_not_end_a_letter_that_others_have_yet_to_get() -> None:
    office = PostOffice("w@a", "x@a", "y@b")
    token = office.send("x@a")
    assert office.is_open(token)
    office.deliver_all()
    assert office.sent(token).delivered == ("w@a", "y@b")


def test_a_letter_to_nobody_is_refused() -> None:
    office = PostOffice("x@a", "y@b")
    assert refusal(office, office.send("x@a", "q@b")) == "nobody_there"
    assert refusal(office, office.send("x@a", group="g")) == "nobody_there"
    alone = PostOffice("x@a")
    assert refusal(alone, alone.send("x@a")) == "nobody_there"
    assert office.travelling == []


def test_who_is_no_agent_of_this_peer_sends_nothing() -> None:
    office = PostOffice("x@a", "y@b")
    office.leave("x@a")
    assert refusal(office, office.send("x@a", "y@b")) == "unknown_session"


def test_an_agent_at_a_peer_that_is_gone_is_unreachable_at_once() -> None:
    office = PostOffice("x@a", "y@b", "z@c")
    office.lose("b")
    token = office.send("x@a")
    office.deliver_all()
    assert (office.sent(token).delivered, office.sent(token).unreachable) == (("z@c",), ("y@b",))


def test_an_agent_that_has_moved_away_is_told_as_unreachable() -> None:
    office = PostOffice("x@a", "y@b", "z@b")
    token = office.send("x@a", "y@b", "z@b")
    office.agents.pop(AgentId("y@b"))
    office.deliver_all()
    assert (office.sent(token).delivered, office.sent(token).unreachable) == (("z@b",), ("y@b",))


def test_a_letter_that_is_lost_is_told_as_silence_when_the_time_is_up() -> None:
    office = PostOffice("x@a", "y@b")
    token = office.send("x@a", "y@b", timeout=SECOND)
    office.drop()
    office.pass_time(0.9)
    assert office.is_open(token)
    office.pass_time(0.2)
    assert office.sent(token).silent == ("y@b",)
    assert office.travelling == [], "it is not sent again"


def test_a_peer_that_dies_is_not_waited_for_and_its_agent_may_have_the_letter() -> None:
    office = PostOffice("x@a", "y@b")
    token = office.send("x@a", "y@b")
    office.deliver()
    assert office.arrived["b"], "only the receipt is missing"
    office.lose("b")
    sent = office.sent(token)
    assert (sent.silent, sent.unreachable) == (("y@b",), ())


def test_an_agent_that_departs_before_its_receipt_has_come_may_have_the_letter() -> None:
    office = PostOffice("x@a", "y@b", "z@b")
    token = office.send("x@a", "y@b", "z@b")
    office.deliver()
    office.leave("y@b")
    assert office.is_open(token)
    office.deliver()
    sent = office.sent(token)
    assert (sent.delivered, sent.silent, sent.unreachable) == (("z@b",), ("y@b",), ())


# ---- queries ---------------------------------------------------------------------------------


def test_a_query_ends_when_all_that_were_reached_have_answered() -> None:
    office = PostOffice("x@a", "w@a", "y@b", "z@c")
    token = office.send("x@a", asks=True)
    office.take("w@a", office.arrived["a"][0], b"\x01")
    office.deliver_all()
    office.take("y@b", office.arrived["b"][0], b"\x02")
    office.take("z@c", office.arrived["c"][0], error="no idea")
    office.deliver()
    assert office.is_open(token)
    office.deliver_all()
    assert office.sent(token).answers == (
        MailAnswer(AgentId("w@a"), b"\x01", ""),
        MailAnswer(AgentId("y@b"), b"\x02", ""),
        MailAnswer(AgentId("z@c"), b"", "no idea"),
    )


def test_an_agent_that_does_not_answer_in_time_is_silent() -> None:
    office = PostOffice("x@a", "y@b", "z@b")
    token = office.send("x@a", asks=True, timeout=SECOND)
    office.deliver_all()
    office.take("y@b", office.arrived["b"][0], b"\x02")
    office.deliver_all()
    office.pass_time(1.1)
    sent = office.sent(token)
    assert (sent.delivered, sent.silent) == (("y@b", "z@b"), ("z@b",))
    assert [answer.agent for answer in sent.answers] == ["y@b"]


def test_an_agent_that_departs_or_whose_peer_dies_is_not_waited_for() -> None:
    office = PostOffice("x@a", "y@b", "z@c")
    token = office.send("x@a", asks=True)
    office.deliver_all()
    office.leave("y@b")
    assert office.is_open(token)
    office.lose("c")
    assert [(one.agent, bool(one.error)) for one in office.sent(token).answers] == [
        ("y@b", True),
        ("z@c", True),
    ]


def test_a_peer_that_has_restarted_has_forgotten_what_it_had() -> None:
    office = PostOffice("x@a", "y@b")
    token = office.send("x@a", asks=True)
    office.deliver_all()
    office.mails[peer_id("a")].restarted(peer_id("b"))
    office._take(peer_id("a"))
    assert office.sent(token).answers[0].error


def test_all_answers_together_have_a_bound() -> None:
    office = PostOffice("x@a", "y@b", "z@b", limits=Limits(mail_answers_bytes_max=10))
    token = office.send("x@a", asks=True)
    office.deliver_all()
    for agent in ("y@b", "z@b"):
        office.take(agent, office.arrived["b"][0], b"123456")
    office.deliver_all()
    first, second = office.sent(token).answers
    assert (first.value, second.value) == (b"123456", b"")
    assert "longer than 10 bytes" in second.error


def test_only_who_was_asked_can_answer_and_from_where_it_lives() -> None:
    office = PostOffice("x@a", "y@b", "z@c")
    token = office.send("x@a", "y@b", asks=True)
    office.deliver_all()
    forged = LetterAnswer(1, MailAnswer(AgentId("y@b"), b"\x09", ""))
    office.mails[peer_id("a")].receive(peer_id("c"), forged, 0.0)
    stranger = LetterAnswer(1, MailAnswer(AgentId("z@c"), b"\x09", ""))
    office.mails[peer_id("a")].receive(peer_id("c"), stranger, 0.0)
    office.take("z@c", office.arrived["b"][0], b"\x09")
    assert office.is_open(token)
    office.take("y@b", office.arrived["b"][0], b"\x01")
    office.deliver_all()
    assert [answer.value for answer in office.sent(token).answers] == [b"\x01"]


# ---- mailboxes and copies --------------------------------------------------------------------


def test_a_letter_that_names_one_target_many_times_takes_one_place_in_its_mailbox() -> None:
    """No peer of ours writes such a letter; a hostile one could fill a mailbox for good."""
    office = PostOffice("x@a", "y@b", limits=Limits(mailbox_letters_max=2))
    office.send("x@a", "y@b")
    source, target, letter = office.travelling.pop()
    assert isinstance(letter, Letter)
    office.travelling.append((source, target, replace(letter, targets=letter.targets * 5)))
    office.deliver_all()
    office.take("y@b", office.arrived["b"][0])
    tokens = [office.send("x@a", "y@b") for _ in range(2)]
    office.deliver_all()
    assert [office.sent(token).full for token in tokens] == [(), ()]


def test_a_full_mailbox_turns_letters_away_until_one_is_taken() -> None:
    office = PostOffice("x@a", "y@b", limits=Limits(mailbox_letters_max=2))
    tokens = [office.send("x@a", "y@b") for _ in range(3)]
    office.deliver_all()
    assert [office.sent(token).full for token in tokens] == [(), (), ("y@b",)]
    assert office.mails[peer_id("b")].refused_count == 1
    office.take("y@b", office.arrived["b"][0])
    again = office.send("x@a", "y@b")
    office.deliver_all()
    assert office.sent(again).delivered == ("y@b",)


def test_letters_that_nobody_takes_make_room_when_their_time_is_up() -> None:
    office = PostOffice("x@a", "y@b", limits=Limits(mailbox_letters_max=1))
    office.send("x@a", "y@b", timeout=SECOND)
    office.deliver_all()
    office.pass_time(1.1)
    again = office.send("x@a", "y@b")
    office.deliver_all()
    assert office.sent(again).delivered == ("y@b",)


def test_an_agent_that_departs_leaves_no_letters_behind() -> None:
    office = PostOffice("x@a", "y@b", limits=Limits(mailbox_letters_max=1))
    office.send("x@a", "y@b")
    office.deliver_all()
    office.leave("y@b")
    office.join("y@b")
    again = office.send("x@a", "y@b")
    office.deliver_all()
    assert office.sent(again).delivered == ("y@b",)


def test_a_letter_taken_twice_is_taken_once() -> None:
    office = PostOffice("x@a", "y@b", limits=Limits(mailbox_letters_max=2))
    token = office.send("x@a", "y@b", asks=True)
    office.send("x@a", "y@b")
    office.deliver_all()
    for value in (b"\x01", b"\x02"):
        office.take("y@b", office.arrived["b"][0], value)
    office.deliver_all()
    assert [answer.value for answer in office.sent(token).answers] == [b"\x01"]


def test_a_copy_of_a_letter_is_not_delivered_again() -> None:
    office = PostOffice("x@a", "y@b")
    office.send("x@a", "y@b")
    office.deliver(copy=True)
    office.deliver_all()
    assert len(office.arrived["b"]) == 1


def test_a_letter_that_was_overtaken_is_dropped() -> None:
    office = PostOffice("x@a", "y@b")
    office.send("x@a", "y@b", value=b"\x01")
    office.send("x@a", "y@b", value=b"\x02")
    office.deliver(1)
    office.deliver_all()
    assert [arrived.value for arrived in office.arrived["b"]] == [b"\x02"]


def test_no_copy_of_a_letter_is_delivered_once_its_peer_has_gone_and_a_new_one_is() -> None:
    """A peer counts on when it starts anew."""
    office = PostOffice("x@a", "y@b")
    office.send("x@a", "y@b")
    office.send("x@a", "y@b")
    office.deliver_all()
    office.mails[peer_id("b")].restarted(peer_id("a"))
    arrived = len(office.arrived["b"])
    for number in (1, numbers_before(2) + 1):
        letter = Letter(
            number, AgentId("x@a"), (AgentId("y@b"),), "all", "t", b"\x03", False, SECOND
        )
        office.mails[peer_id("b")].receive(peer_id("a"), letter, 0.0)
        office._take(peer_id("b"))
    assert [one.value for one in office.arrived["b"][arrived:]] == [b"\x03"]


def test_an_answer_to_a_process_that_is_gone_is_none_to_the_next_one() -> None:
    office = PostOffice("x@a", "y@b")
    office.send("x@a", "y@b", asks=True)
    office.deliver_all()
    (old,) = office.arrived["b"]
    office.restart("a")
    token = office.send("x@a", "y@b", asks=True)
    office.deliver_all()
    office.take("y@b", old, b"\x01")
    office.deliver_all()
    assert office.is_open(token), "it has not answered this letter yet"
    office.take("y@b", office.arrived["b"][-1], b"\x02")
    office.deliver_all()
    assert office.sent(token).answers == (MailAnswer(AgentId("y@b"), b"\x02", ""),)


def test_what_an_agent_says_to_a_letter_of_its_peers_last_process_answers_no_later_one() -> None:
    office = PostOffice("x@a", "y@b")
    office.send("x@a", "y@b", asks=True)
    office.deliver_all()
    (old,) = office.arrived["b"]
    office.restart("b")
    token = office.send("x@a", "y@b", asks=True)
    office.deliver_all()
    office.take("y@b", old, b"\x01")
    office.deliver_all()
    assert office.is_open(token)


def test_a_peer_speaks_for_its_own_agents_alone() -> None:
    office = PostOffice("x@a", "y@b", "z@c")
    forged = Letter(1, AgentId("x@a"), (AgentId("y@b"),), "all", "t", b"\x03", False, SECOND)
    office.mails[peer_id("b")].receive(peer_id("c"), forged, 0.0)
    office._take(peer_id("b"))
    assert office.arrived["b"] == []
    assert office.mails[peer_id("b")].refused_count == 1
    assert [message for _, _, message in office.travelling] == [LetterReceipt(1, (), ())]


def test_a_peer_has_a_bounded_number_of_letters_under_way() -> None:
    office = PostOffice("x@a", "y@b", limits=Limits(letters_pending_max=1))
    first = office.send("x@a", "y@b")
    assert refusal(office, office.send("x@a", "y@b")) == "overloaded"
    office.mails[peer_id("a")].cancel(first)
    assert office.is_open(office.send("x@a", "y@b"))


# ---- whatever the network does ---------------------------------------------------------------

NAMES = ("x@a", "w@a", "y@b", "z@b", "v@c")


@settings(max_examples=300)
@given(st.data())
def test_whatever_the_network_does_nothing_comes_twice_and_every_sender_hears_once(
    data: st.DataObject,
) -> None:
    office = PostOffice(*NAMES, limits=Limits(mailbox_letters_max=2))
    tokens: list[int] = []
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        step = data.draw(st.sampled_from(("send", "deliver", "copy", "drop", "take", "time", "go")))
        match step:
            case "send":
                living = sorted(office.agents)
                if living:
                    sender = data.draw(st.sampled_from(living))
                    targets = data.draw(st.lists(st.sampled_from(NAMES), max_size=3))
                    asks = data.draw(st.booleans())
                    value = bytes((len(tokens),))
                    token = office.send(sender, *targets, asks=asks, value=value, timeout=SECOND)
                    tokens.append(token)
            case "deliver" | "copy" | "drop" if office.travelling:
                position = data.draw(st.integers(0, len(office.travelling) - 1))
                if step == "drop":
                    office.drop(position)
                else:
                    office.deliver(position, copy=step == "copy")
            case "take":
                letters = [(home, one) for home in "abc" for one in office.arrived[home]]
                if letters:
                    home, arrived = data.draw(st.sampled_from(letters))
                    agent = data.draw(st.sampled_from(arrived.targets))
                    office.take(agent, arrived, b"\x01")
            case "time":
                office.pass_time(data.draw(st.sampled_from((0.3, 0.8))))
            case "go" if len(office.agents) > 3:
                office.leave(data.draw(st.sampled_from(sorted(office.agents))))
            case _:
                pass
    office.deliver_all()
    office.pass_time(2.0)
    for token in tokens:
        (answer,) = office.answers[token]
        if isinstance(answer, MailSent):
            fates = [*answer.delivered, *answer.full, *answer.unreachable]
            assert len(fates) == len({*fates}), "each target has one fate"
            answered = [one.agent for one in answer.answers]
            assert len(answered) == len({*answered})
            assert {*answered} <= {*answer.delivered}
            assert not {*answered} & {*answer.silent}
    for home in "abc":
        came = Counter(
            (agent, arrived.value) for arrived in office.arrived[home] for agent in arrived.targets
        )
        assert max(came.values(), default=1) == 1
    for mail in office.mails.values():
        assert (mail._sent, mail._held, mail._mailboxes, mail._tokens) == ({}, {}, {}, {})
