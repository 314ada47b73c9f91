from mabeam_p2p.commands import Admit
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.protocol.admission import (
    ADMITTED_AT_ONCE_MAX,
    AGAIN_SECONDS,
    INTRODUCED_MAX,
    Admission,
)
from mabeam_p2p.records import Credential, Credentials, Member, MemberState

NOBODY = Credentials()


def peer(number: int) -> PeerId:
    return PeerId(f"{number:016x}")


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def member(number: int, state: MemberState = MemberState.ALIVE) -> Member:
    return Member(peer(number), f"p{number}", "127.0.0.1:1", 1, 1, state)


def admit(number: int) -> Admit:
    return Admit(CLUSTER_SESSION, 0, peer(number), key(number))


def test_members_that_have_proved_themselves_are_admitted_once() -> None:
    admission = Admission()
    admission.introduced(peer(1), key(1))
    members = (member(1), member(2))
    assert admission.commands(NOBODY, members, 0.0) == (admit(1),)
    assert admission.commands(NOBODY, members, AGAIN_SECONDS / 2) == ()
    admitted = Credentials((Credential(peer(1), (key(1),)),))
    assert admission.commands(admitted, members, 9.0) == ()


def test_who_has_proved_what_counts_no_more_is_not_admitted() -> None:
    admission = Admission()
    admission.introduced(peer(1), key(1))
    admission.introduced(peer(1), b"")
    admission.introduced(peer(2), b"")
    assert admission.commands(NOBODY, (member(1), member(2)), 0.0) == ()
    admission.introduced(peer(1), key(2))
    assert admission.commands(NOBODY, (member(1),), 0.0) != ()


def test_an_admission_that_was_lost_with_its_leader_is_proposed_again() -> None:
    admission = Admission()
    admission.introduced(peer(1), key(1))
    admission.commands(NOBODY, (member(1),), 0.0)
    assert admission.commands(NOBODY, (member(1),), AGAIN_SECONDS) == (admit(1),)


def test_who_is_no_member_or_is_gone_or_was_revoked_is_not_admitted() -> None:
    admission = Admission()
    for number in (1, 2, 3):
        admission.introduced(peer(number), key(number))
    revoked = Credentials((), (Credential(peer(1), (key(1),)),))
    members = (member(1), member(2, MemberState.DEAD))
    assert admission.commands(revoked, members, 0.0) == ()


def test_who_is_introduced_anew_is_admitted_under_the_key_that_it_proved_last() -> None:
    admission = Admission()
    admission.introduced(peer(1), key(7))
    admission.commands(NOBODY, (member(1),), 0.0)
    admission.introduced(peer(1), key(1))
    assert admission.commands(NOBODY, (member(1),), 0.0) == (admit(1),)


def test_many_are_admitted_in_turns() -> None:
    admission = Admission()
    count = ADMITTED_AT_ONCE_MAX + 5
    for number in range(count):
        admission.introduced(peer(number), key(number))
    members = tuple(member(number) for number in range(count))
    assert len(admission.commands(NOBODY, members, 0.0)) == ADMITTED_AT_ONCE_MAX
    assert len(admission.commands(NOBODY, members, 0.1)) == 5


def test_introductions_are_bounded() -> None:
    admission = Admission()
    for number in range(INTRODUCED_MAX + 1):
        admission.introduced(peer(number), key(number))
    assert admission.commands(NOBODY, (member(0),), 0.0) == ()
    assert admission.commands(NOBODY, (member(1),), 0.0) == (admit(1),)


def test_what_is_remembered_of_proposals_is_bounded_however_many_come_and_go() -> None:
    """Peers without a folder come under a new id each time: there is no end of them."""
    admission = Admission()
    for start in (0, INTRODUCED_MAX):
        for number in range(start, start + INTRODUCED_MAX):
            admission.introduced(peer(number), key(number))
        members = tuple(member(number) for number in range(start, start + INTRODUCED_MAX))
        while admission.commands(NOBODY, members, 0.0):
            pass
    assert max(len(kept) for kept in vars(admission).values()) == INTRODUCED_MAX
