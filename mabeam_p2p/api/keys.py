"""Join codes, and whose keys are let in: looked at and changed by way of one peer."""

import asyncio
from dataclasses import dataclass

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results.base import Result
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import check_seconds
from mabeam_p2p.commands import AnyKeyCommand, RevokePeer, RotateSecret, SetKeys
from mabeam_p2p.errors import MabeamTimeout, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION
from mabeam_p2p.key_requests import (
    INVITE_SECONDS,
    Invite,
    Invited,
    KeyRenewed,
    KeysAnswer,
    ProposeSecret,
    ReadKeys,
    RenewKey,
    SecretProposed,
)

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.05
"""Between two looks at who knows the new key."""
KNOWN_SECONDS = 10.0
"""How long a rotation waits until the others know the new key; without the voters it ends there."""
FOLLOWED_SECONDS = 5.0
"""How long both keys count afterwards at most, so that the others come to the new one."""


@dataclass(frozen=True, slots=True)
class PeerKeys(Result):
    """The keys of one peer."""

    peer: str
    name: str
    """As a member; empty if it is none now."""
    state: str
    """admitted, pending (it has proved the join secret here) or revoked."""
    keys: tuple[str, ...]
    """In hexadecimal; two while one takes the other's place."""


@dataclass(frozen=True, slots=True)
class KeyFacts(Result):
    """What a peer knows of keys. Nothing of it is secret."""

    peer: str
    key: str
    secret: str
    """The label of the join secret that it has; empty while it waits for its inviter."""
    peers: tuple[PeerKeys, ...]


@dataclass(frozen=True, slots=True)
class KeyRotation(Result):
    """A key that has taken another one's place."""

    key: str
    """In hexadecimal."""
    followed: tuple[str, ...]
    """Names of the peers that have asked for the new key before the former one ended."""
    behind: tuple[str, ...]
    """Of live ones that had not: the log tells them."""


async def invited(
    attachment: Attachment, seconds: float, once: bool, *, again: bool = False
) -> str:
    """As Keys.invite. again: as of Invite."""
    valid = float(check_seconds(seconds, "seconds"))
    answer = await attachment.ask(Invite(valid, once, again), ANSWER_SECONDS)
    if isinstance(answer, Invited):
        return answer.code
    raise attachment.error(answer, "a join code")


class Keys:
    """Of a peer and its cluster, by way of one of the peer's agents."""

    def __init__(self, attachment: Attachment, session: Session) -> None:
        self._attachment = attachment
        self._session = session

    async def invite(self, *, seconds: float = INVITE_SECONDS, once: bool = False) -> str:
        """A join code by which peers of other hosts and users are let in for so long, or one of
        them. It is a secret. It names the address of this peer, which alone honours it.

        Raises InvalidValue; Rejected with reason no_keys or not_joined; Overloaded if as many codes
        of this peer are out as it keeps (256)."""
        return await invited(self._attachment, seconds, once)

    async def read(self) -> KeyFacts:
        """Who is let in, and who is not. Raises Rejected with reason no_keys."""
        answer = await self._facts()
        names = {member.id: member.name for member in self._attachment.view.members()}
        groups = (
            ("admitted", answer.credentials.admitted),
            ("pending", answer.pending),
            ("revoked", answer.credentials.revoked),
        )
        peers = tuple(
            PeerKeys(one.peer, names.get(one.peer, ""), state, tuple(key.hex() for key in one.keys))
            for state, group in groups
            for one in group
        )
        return KeyFacts(answer.peer, answer.key.hex(), answer.label.hex(), peers)

    async def revoke(self, peer: str, *, timeout: float | None = None) -> None:
        """Let a peer in no more, by id or a member's name, and take its vote first if it has one.
        It still knows the join secret: rotate that as well.

        Raises UnknownPeer, VotersUnchanged, NoQuorum, OutcomeUnknown, and Rejected with reason
        own_peer for the peer that is asked, which would be told nothing any more."""
        found = self._attachment.peer_called(peer)
        status = await self._attachment.status()
        if found == status.peer:
            raise Rejected(
                f"{peer} is the peer that is asked, and would not hear what came of it: revoke it "
                "by way of another one",
                reason="own_peer",
            )
        if found in status.voters:
            await self._attachment.change_voters(found, False, 0, timeout)
        command = RevokePeer(CLUSTER_SESSION, 0, found)
        await self._say(command, f"the revocation of {peer}", timeout)

    async def rotate(self, *, timeout: float | None = None) -> KeyRotation:
        """Give this peer another key. Both count for a while: nothing that others send meanwhile is
        lost. The new one is used once the others let this peer in under it, and the former one ends
        once those that live have asked for it, or after some seconds.

        If this peer votes, and another voter does not let it in within ten seconds, it goes on
        under the former key; another call goes on from there. Raises MabeamTimeout then; Rejected,
        NoQuorum, OutcomeUnknown."""
        answer = await self._attachment.ask(RenewKey(), ANSWER_SECONDS)
        if not isinstance(answer, KeyRenewed):
            raise self._attachment.error(answer, "another key")
        key, former = answer.key, answer.former
        facts = await self._facts()
        if facts.key != key:
            command = SetKeys(CLUSTER_SESSION, 0, (former, key), facts.peer)
            await self._say(command, "the new key", timeout)
            await self._known_to_voters()
        command = SetKeys(CLUSTER_SESSION, 0, (key, former), facts.peer)
        await self._say(command, "the use of the new key", timeout)
        followers, behind = await self._followers(FOLLOWED_SECONDS)
        command = SetKeys(CLUSTER_SESSION, 0, (key,), facts.peer)
        await self._say(command, "the end of the former key", timeout)
        return KeyRotation(key.hex(), self._names(followers), self._names(behind))

    async def _known_to_voters(self) -> None:
        voters = (await self._attachment.status()).voters
        _, behind = await self._followers(KNOWN_SECONDS, voters)
        away = self._names(tuple(peer for peer in behind if peer in voters))
        # Who does not vote leads nobody: its voters hear of the key from their leader.
        if away and (await self._facts()).peer in voters:
            raise MabeamTimeout(
                f"within {KNOWN_SECONDS:g} s {', '.join(away)} did not let this peer in under its "
                "new key, and a voter that does not know it could not be led by this peer: it goes "
                "on under the former one. Rotate again when all voters are there, or take the vote "
                "of those that do not come back (`mabeam voters remove`)"
            )

    async def _followers(
        self, seconds: float, also: tuple[str, ...] = ()
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Wait until all live peers, and these, follow; who does, and who does not."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            facts = await self._facts()
            live = (one.id for one in self._attachment.view.members() if one.state == "alive")
            wanted = dict.fromkeys((*also, *live))
            wanted.pop(facts.peer, None)
            behind = tuple(peer for peer in wanted if peer not in facts.followers)
            if not behind or loop.time() >= deadline:
                return tuple(peer for peer in wanted if peer in facts.followers), behind
            await asyncio.sleep(LOOK_SECONDS)

    async def _facts(self) -> KeysAnswer:
        answer = await self._attachment.ask(ReadKeys(), ANSWER_SECONDS)
        if not isinstance(answer, KeysAnswer):
            raise self._attachment.error(answer, "keys")
        return answer

    def _names(self, peers: tuple[str, ...]) -> tuple[str, ...]:
        names = {member.id: member.name for member in self._attachment.view.members()}
        return tuple(sorted(names.get(peer, peer) for peer in peers))

    async def rotate_secret(self, *, timeout: float | None = None) -> str:
        """Give the cluster another join secret; return its label. Codes that were given out are
        void. Members learn it by themselves. Raises Rejected, NoQuorum, OutcomeUnknown."""
        answer = await self._attachment.ask(ProposeSecret(), ANSWER_SECONDS)
        if not isinstance(answer, SecretProposed):
            raise self._attachment.error(answer, "another join secret")
        command = RotateSecret(CLUSTER_SESSION, 0, answer.label)
        await self._say(command, "the new join secret", timeout)
        return answer.label.hex()

    async def _say(self, command: AnyKeyCommand, what: str, timeout: float | None) -> None:
        timing = self._attachment.timing
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        await self._session.commit(command, what, seconds)
