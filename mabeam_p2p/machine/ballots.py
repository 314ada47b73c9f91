"""When a ballot is decided, and how: a pure function of counts, in integers.

Over a fixed electorate of E agents with a accepts, r rejects and x abstentions, so that
cast = a + r + x and quorum = E // 2 + 1, and with the policy's fractions A (accept) and
R (reject), a ballot that closes comes to the first of:

    cast < quorum                   NO_QUORUM
    a >= A * cast and 2a > E        ACCEPTED
    r >= R * cast                   REJECTED
    otherwise                       NO_CLEAR_MAJORITY

It closes early exactly when every completion of the o = E - cast missing votes, none coming
included, comes to the same result. With A and R at most 1, one more accept never undoes an
acceptance, and one more vote of another kind never makes one; the same holds for rejects and
`r >= R * cast` alone. So the extreme completions decide, and all of them have cast = E:

1. cast < quorum: if none comes NO_QUORUM, if all come something else. Open.
2. An acceptance is certain iff it stands when all o votes go elsewhere:  a >= A * E and 2a > E.
3. An acceptance is possible iff all o accepts make it:  a + o >= A * E and 2 (a + o) > E.
   While it is possible and not certain, the ballot is open.
4. Without that, a rejection is certain iff r >= R * E, and possible iff r + o >= R * E; possible
   and not certain is open, and impossible leaves NO_CLEAR_MAJORITY alone.

The last vote (o = 0) always decides. The order of votes is nowhere in this.
"""

from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.records import Policy, ProposalStatus


def is_sound(policy: Policy) -> bool:
    """Whether the fractions lie in (0, 1] and somebody must vote: what the derivation needs."""
    return (
        1 <= policy.accept_numerator <= policy.accept_denominator <= INTEGER_MAX
        and 1 <= policy.reject_numerator <= policy.reject_denominator <= INTEGER_MAX
        and 1 <= policy.min_voters <= INTEGER_MAX
    )


def result_at_close(
    policy: Policy, electorate: int, accepts: int, rejects: int, abstentions: int
) -> ProposalStatus:
    """What the votes come to if no more are counted. All arguments but the policy are counts."""
    cast = accepts + rejects + abstentions
    if cast < electorate // 2 + 1:
        return ProposalStatus.NO_QUORUM
    if _accepts(policy, electorate, accepts, cast):
        return ProposalStatus.ACCEPTED
    if _rejects(policy, rejects, cast):
        return ProposalStatus.REJECTED
    return ProposalStatus.NO_CLEAR_MAJORITY


def result_if_certain(
    policy: Policy, electorate: int, accepts: int, rejects: int, abstentions: int
) -> ProposalStatus | None:
    """What every completion of the missing votes comes to; None while they differ."""
    cast = accepts + rejects + abstentions
    if cast < electorate // 2 + 1:
        return None
    if _accepts(policy, electorate, accepts, electorate):
        return ProposalStatus.ACCEPTED
    outstanding = electorate - cast
    if _accepts(policy, electorate, accepts + outstanding, electorate):
        return None
    if _rejects(policy, rejects, electorate):
        return ProposalStatus.REJECTED
    if _rejects(policy, rejects + outstanding, electorate):
        return None
    return ProposalStatus.NO_CLEAR_MAJORITY


def _accepts(policy: Policy, electorate: int, accepts: int, cast: int) -> bool:
    enough = policy.accept_denominator * accepts >= policy.accept_numerator * cast
    return enough and 2 * accepts > electorate


def _rejects(policy: Policy, rejects: int, cast: int) -> bool:
    return policy.reject_denominator * rejects >= policy.reject_numerator * cast
