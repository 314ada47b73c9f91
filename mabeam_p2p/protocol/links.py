"""Who is at the other end: addresses, epochs, greetings. It turns addresses into peers and frames
into messages from known peers, and drops what comes from a process that is gone.

It never judges whether a peer is alive: `membership` does.

Rules
1. Only Hello and Refuse are heard from a peer that has not been met in its present epoch.
2. A frame from an older epoch of its source, or meant for an older epoch of ours, or for another
   peer that was here, is dropped.
3. Peers of another cluster name, or another formed cluster, with the name of somebody else, or of a
   release that cannot take part (`versions`), are refused, and told why. Two clusters never merge.
   Of two peers that want one name exactly one gives way: one in no formed cluster to one that is
   in, else the larger id to the smaller. Whoever meets both can tell which.
4. An address that was suggested is greeted until a peer answers there, ever more slowly. The
   address of a member that has gone silent is greeted too: an outage of any length can heal. In a
   crowd each peer greets less, so that what arrives at one address does not grow with the crowd.
   Where many have gone they are greeted in turn, over links that are open for that long alone.
5. A peer whose own address changes introduces itself anew to all whom it has links to: they know it
   by the new one, and answer there. In one epoch the newest record of a member says where it is.
6. A link is opened when something is to be said over it, and begins with a greeting. One over which
   nothing was said for a while is closed, when more than a few are open.
"""

from collections.abc import Iterable
from math import inf
from random import Random

from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.events import Refused
from mabeam_p2p.ids import NOBODY, ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello, Message, Refuse
from mabeam_p2p.protocol.acquaintances import SAYS_NOTHING, Greeting, Link
from mabeam_p2p.protocol.core import DROP_REPORT_SECONDS, Drops, Outbox
from mabeam_p2p.protocol.versions import (
    common_protocol,
    objection_to,
    other_protocol,
    speaks,
    understood,
)
from mabeam_p2p.records import Able, Acquaintance, Member

UNMET = "?"
"""Prefix of a target whose peer is not known yet; its address follows."""

REFUSAL_SECONDS = 2.0
"""How long the link over which a peer was refused stays open, so that it gets the word."""
REFUSALS_MAX = 32
SWEEP_SECONDS = 1.0
"""Links are looked through for idle ones this often."""


class Links:
    """The acquaintances of one peer."""

    def __init__(
        self,
        peer: PeerId,
        epoch: int,
        cluster: str,
        address: str,
        *,
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        random: Random,
        able: Able = SAYS_NOTHING,
    ) -> None:
        """able: what this peer's release can do."""
        self.cluster_id = ClusterId("")
        """Set by the owner when this peer belongs to a formed cluster."""
        self.ancestors: tuple[ClusterId, ...] = ()
        """Ids that the cluster had before its log was repaired. Set by the owner."""
        self.machine_version = 1
        """By which the log is applied. Set by the owner."""
        self.able = able
        self.revoked: dict[PeerId, None] = {}
        """Peers that are not let in any more, whatever they say."""
        self.crowd = 0
        """Members that are here; set by the owner."""
        self._drops = Drops(outbox, limits.candidates_max)
        self.drop = self._drops.drop
        self._random = random
        self._now = 0.0
        self._sweep_due = -inf
        self._mine: Member | None = None
        self._idle: dict[PeerId, None] = {}
        self._peer = peer
        self._epoch = epoch
        self._cluster = cluster
        self._address = address
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._sequence = 0
        self._links: dict[PeerId, Link] = {}
        self._greetings: dict[str, Greeting] = {}
        self._refused_until: dict[PeerId, float] = {}  # By whom; then it is told again.
        self._refusals: dict[str, float] = {}

    # ---- frames ------------------------------------------------------------------------------

    def seal(self, target: PeerId, messages: tuple[Message, ...]) -> Frame:
        """The frame in which `messages` travel to `target`."""
        link = self._links.get(target)
        epoch, meant = (0, NOBODY) if link is None else (link.epoch, target)
        self._sequence += 1
        version = self.able.protocol_min
        if link is not None and not any(isinstance(one, Hello | Refuse) for one in messages):
            version = link.protocol
        said = understood(messages, version)
        return Frame(
            version, self._peer, self._epoch, epoch, self._sequence, self.cluster_id, said, meant
        )

    def opens(self, frame: Frame, mine: Member, now: float) -> bool:
        """Whether the frame's messages beyond acquaintance may be heard (rules 1 to 3)."""
        if frame.source == self._peer:
            return False
        if not speaks(self.able, frame.version):
            return self._dropped(frame.source, "version", other_protocol(self.able, frame), now)
        if frame.source in self.revoked:
            return self._dropped(frame.source, "revoked", "is not let in any more", now)
        link = self._links.get(frame.source)
        if link is None:
            return self._dropped(frame.source, "stranger", "not met in this epoch", now)
        if frame.source_epoch != link.epoch:
            if frame.source_epoch > link.epoch:
                self._greet_again(frame.source, link, mine, now)
            return self._dropped(frame.source, "stale_source", "from a process that is gone", now)
        if frame.target_epoch != self._epoch or frame.target not in (self._peer, NOBODY):
            self._greet_again(frame.source, link, mine, now)
            return self._dropped(frame.source, "stale_target", "for a process that is gone", now)
        if frame.cluster and self.cluster_id and frame.cluster != self.cluster_id:
            return self._dropped(frame.source, "cluster", "of another cluster", now)
        if link.able is None:
            self._greet_again(frame.source, link, mine, now)
        return True

    def _dropped(self, source: PeerId, reason: str, detail: str, now: float) -> bool:
        self.drop(source, reason, detail, now)
        return False

    def _greet_again(self, peer: PeerId, link: Link, mine: Member, now: float) -> None:
        """Either side does not know of the other what it was told: introduce ourselves."""
        if now - link.greeted_at >= self._timing.greet_interval_seconds:
            link.greeted_at = now
            self._mine = mine
            self._outbox.send(peer, self._hello(answer=False))

    @property
    def dropped_count(self) -> int:
        return self._drops.count

    # ---- greetings ---------------------------------------------------------------------------

    def suggest(self, address: str, now: float) -> None:
        """A hint that a peer might be at `address`."""
        if address in self._greetings or address == self._address:
            return
        if any(link.address == address for link in self._links.values()):
            return
        if len(self._greetings) < self._limits.candidates_max or self._make_room():
            self._greet_from(PeerId(UNMET + address), address, now)

    def _make_room(self) -> bool:
        """Give up the suggestion that has gone unanswered the longest, if any has for long."""
        for address, greeting in self._greetings.items():
            is_slow = greeting.interval >= self._timing.greet_interval_seconds_max
            if is_slow and greeting.target.startswith(UNMET):
                self._greeting_ends(address)
                return True
        return False

    def silent(self, member: Member, now: float) -> None:
        """A member has gone silent: greet its address until it answers (rule 4)."""
        if member.address in self._greetings or member.peer in self.revoked:
            return
        silent = [a for a, g in self._greetings.items() if not g.target.startswith(UNMET)]
        if len(silent) >= self._limits.forgotten_max:
            self._greeting_ends(silent[0])
        self._greet_from(member.peer, member.address, now)

    def doubted(self, member: Member, now: float) -> None:
        """It has introduced itself, but not as a member yet: greet it until it does."""
        self.silent(member, now)
        greeting = self._greetings.get(member.address)
        if greeting is not None:
            greeting.due = max(greeting.due, now + greeting.interval)

    def moved(self, address: str, now: float) -> None:
        """This peer is reached at `address` from now on (rule 5)."""
        self._address = address
        for peer, link in self._links.items():
            if link.is_open and link.address not in self._greetings:
                # Over a new connection: the old one came from where this peer is no more.
                self._greet_from(peer, link.address, now)

    def _greet_from(self, target: PeerId, address: str, now: float) -> None:
        greeting = Greeting(target, now, self._timing.greet_interval_seconds)
        self._greetings[address] = greeting
        crowding = self._crowding()
        if crowding:
            greeting.due += self._random.random() * crowding * greeting.interval
        else:
            self._dial_greeting(address, greeting)

    def _crowding(self) -> int:
        """How many times less each greets, as so many others have the same reason to."""
        return self.crowd // self._limits.greet_at_once_max

    def _dial_greeting(self, address: str, greeting: Greeting) -> None:
        greeting.is_dialled = True
        self._outbox.connect(greeting.target, address)
        link = self._links.get(greeting.target)
        if link is not None:
            link.is_open = True

    def _is_lost(self, greeting: Greeting) -> bool:
        """Whether it is for a peer that was a member once."""
        return greeting.target not in self._links and not greeting.target.startswith(UNMET)

    def _is_slow(self, greeting: Greeting, slowest: float) -> bool:
        """Whether a lost peer, which has not answered for long, is being greeted now."""
        return greeting.is_dialled and greeting.interval >= slowest and self._is_lost(greeting)

    def tick(self, mine: Member, now: float) -> None:
        self._now, self._mine = now, mine
        slowest = self._timing.greet_interval_seconds_max * max(1, self._crowding())
        lost_count = sum(map(self._is_lost, self._greetings.values()))
        rest = slowest * (lost_count // self._limits.greet_at_once_max)
        for address, greeting in self._greetings.items():
            if now >= greeting.due:
                if rest and self._is_slow(greeting, slowest):  # Links are scarcer than who is gone.
                    greeting.is_dialled = False
                    self._outbox.connect(greeting.target, None)
                    greeting.due = now + rest * (0.5 + self._random.random())
                    continue
                if not greeting.is_dialled:
                    self._dial_greeting(address, greeting)
                greeting.due = now + greeting.interval
                greeting.interval = min(greeting.interval * 2, slowest)
                self._outbox.send(greeting.target, self._hello(answer=False))
        for address in [a for a, due in self._refusals.items() if now >= due]:
            del self._refusals[address]
            if address not in self._greetings:
                self._outbox.connect(PeerId(UNMET + address), None)
        if now >= self._sweep_due:
            self._sweep_due = now + SWEEP_SECONDS
            self._sweep(now)

    def _hello(self, *, answer: bool) -> Hello:
        assert self._mine is not None, "the first input brings this peer's record"
        return Hello(self._cluster, self.cluster_id, self._mine, answer, self.able)

    def next_deadline(self) -> float:
        greeting = min((greeting.due for greeting in self._greetings.values()), default=inf)
        return min(greeting, min(self._refusals.values(), default=inf))

    def _greeting_ends(self, address: str) -> None:
        greeting = self._greetings.pop(address, None)
        if greeting is not None and greeting.target not in self._links:
            # Nobody is met by that name, or is a member by it any more.
            self._outbox.connect(greeting.target, None)

    def _greetings_end(self, peer: PeerId) -> None:
        """Wherever it was, its link must not go there any more."""
        for address in [a for a, g in self._greetings.items() if g.target == peer]:
            self._greeting_ends(address)

    # ---- acquaintance ------------------------------------------------------------------------

    def receive_hello(
        self,
        frame: Frame,
        hello: Hello,
        mine: Member,
        name_holder: tuple[PeerId, ClusterId] | None,
        now: float,
        *,
        holder_is_sure: bool = True,
    ) -> bool:
        """Meet a peer, or meet it again. Whether it is accepted, and linked.

        `name_holder`: the live member, other than the speaker, that has the speaker's name, and the
        formed cluster that it is in. Unless it is sure that this one is there, nobody gives way
        for good.
        """
        them = hello.member
        if them.peer == self._peer and them.address == self._address:
            return False  # our own words, come back by another name of our address
        if them.peer != frame.source or them.epoch != frame.source_epoch:
            self.drop(frame.source, "hello", "speaks for another peer", now)
            return False
        objection = self._objection(frame, hello, name_holder, holder_is_sure)
        if objection is not None:
            self._refuse(them, objection, now)
            return False
        link = self._links.get(them.peer)
        if link is not None and link.epoch > them.epoch:
            self.drop(frame.source, "stale_source", "from a process that is gone", now)
            return False
        if link is None and not self._has_room():
            self.drop(frame.source, "full", "there is no room for more members", now)
            return False
        self._mine = mine
        new = link is None or link.epoch < them.epoch or link.address != them.address
        self._greeting_ends(them.address)
        if link is None or new:
            self._greetings_end(them.peer)
            link = Link(them.address, them.epoch, now, self.able.protocol_min)
            self._links[them.peer] = link
        link.able = hello.able
        link.protocol = common_protocol(self.able, frame, hello.able)
        if not link.is_open:
            link.is_open = True
            link.used_at = now
            self._outbox.connect(them.peer, them.address)
        if not hello.answer or new:
            self._outbox.send(them.peer, self._hello(answer=True))
        return True

    def _has_room(self) -> bool:
        """For another peer: one that is not a member, or whose link is closed, may give way."""
        if len(self._links) < self._limits.members_max:
            return True
        closed = [(link.used_at, peer) for peer, link in self._links.items() if not link.is_open]
        if closed:
            del self._links[min(closed)[1]]
        return bool(closed)

    def _objection(
        self,
        frame: Frame,
        hello: Hello,
        name_holder: tuple[PeerId, ClusterId] | None,
        holder_is_sure: bool,
    ) -> Refuse | None:
        them = hello.member
        if hello.cluster != self._cluster:
            return Refuse(
                "cluster",
                f"belongs to cluster {hello.cluster!r}, this peer to {self._cluster!r}",
            )
        # Behind the cluster's name: another release next door is nobody's error.
        if not common_protocol(self.able, frame, hello.able):
            return Refuse("version", other_protocol(self.able, frame, hello.able), final=True)
        if them.peer in self.revoked:
            return Refuse("revoked", "its key was revoked in this cluster", final=True)
        if hello.cluster_id in self.ancestors:
            return Refuse(
                "repaired",
                "its cluster lost its majority, and was repaired without it: it can no longer take "
                "part with the log that it has",
                final=True,
            )
        if hello.cluster_id and self.cluster_id and hello.cluster_id != self.cluster_id:
            return Refuse("cluster", "belongs to another cluster of the same name")
        if them.peer == self._peer:
            detail = "has the identity of this peer: a copied data folder?"
            return Refuse("identity", detail, final=True)
        unable = objection_to(hello, self.able, self.machine_version, has_log=bool(self.cluster_id))
        if unable is not None:
            return unable
        if name_holder is not None:
            holder, cluster_id = name_holder
            gives_way = not hello.cluster_id and (bool(cluster_id) or holder < them.peer)
            detail = f"the name {them.name!r} is taken by peer {holder}"
            return Refuse("name", detail, final=gives_way and holder_is_sure)
        return None

    def _refuse(self, them: Member, refuse: Refuse, now: float) -> None:
        """Say why, over a link that is opened for that alone."""
        self.drop(them.peer, f"refused_{refuse.reason}", refuse.detail, now)
        address = them.address
        if len(self._refusals) >= REFUSALS_MAX and address not in self._refusals:
            return
        greeting = self._greetings.get(address)
        target = greeting.target if greeting is not None else PeerId(UNMET + address)
        if greeting is None and address not in self._refusals:
            self._outbox.connect(target, address)
        self._refusals[address] = now + REFUSAL_SECONDS
        self._outbox.send(target, replace(refuse, peer=them.peer, epoch=them.epoch))

    def receive_refuse(self, frame: Frame, refuse: Refuse, *, has_quorum: bool) -> bool:
        """Whether another peer will never talk to this one. In this one's own name a copy can."""
        source, now = frame.source, self._now
        if source == self._peer and refuse.reason != "identity":
            return self._dropped(source, "refuse", "in this peer's own name", now)
        if refuse.peer and (refuse.peer, refuse.epoch) != (self._peer, self._epoch):
            return self._dropped(source, "stale_target", "for a process that is gone", now)
        if now < self._refused_until.get(source, -inf):
            return self._dropped(source, "refuse", "again, within a second", now)
        self._refused_until[source] = now + DROP_REPORT_SECONDS
        if len(self._refused_until) > REFUSALS_MAX:
            del self._refused_until[next(iter(self._refused_until))]
        # Who has come into a formed cluster meanwhile keeps its name; and whoever repaired a
        # cluster that still has its majority is the one that is alone.
        keeps_name = refuse.reason == "name" and bool(self.cluster_id)
        fatal = refuse.final and not keeps_name and not (refuse.reason == "repaired" and has_quorum)
        self._outbox.notify(Refused(source, refuse.reason, refuse.detail, fatal))
        return fatal

    def know(self, member: Member, now: float) -> bool:
        """Another member has told of this one, or this one has: there it can be reached. Whether
        it runs anew since it was met."""
        if member.peer in self.revoked:
            return False
        link = self._links.get(member.peer)
        if link is None and not self._has_room():
            return False
        self._greeting_ends(member.address)
        place, was_open, is_anew = (member.epoch, member.address), False, False
        if link is not None:
            if link.epoch > member.epoch or place == (link.epoch, link.address):
                return False
            was_open, is_anew = link.is_open, link.epoch < member.epoch
        self._greetings_end(member.peer)
        link = Link(member.address, member.epoch, now, self.able.protocol_min)
        self._links[member.peer] = link
        if was_open:
            self._open(member.peer, link)
        return is_anew

    def dial(self, targets: Iterable[PeerId]) -> None:
        """Something is to be said to these: open the links to those that are known (rule 6)."""
        for target in targets:
            link = self._links.get(target)
            if link is None:
                continue
            link.used_at = self._now
            self._idle.pop(target, None)
            if not link.is_open:
                self._open(target, link)
        for peer in self._idle:
            if peer in self._links and self._links[peer].is_open:
                self._links[peer].is_open = False
                self._outbox.connect(peer, None)
        self._idle.clear()

    def _open(self, peer: PeerId, link: Link) -> None:
        link.is_open = True
        link.greeted_at = self._now
        self._outbox.connect(peer, link.address)
        self._outbox.send(peer, self._hello(answer=False))

    def _sweep(self, now: float) -> None:
        """Find what is idle, but for a few: it is closed unless the next effects go there."""
        opened = [(link.used_at, peer) for peer, link in self._links.items() if link.is_open]
        greeted = {greeting.target: None for greeting in self._greetings.values()}
        for used_at, peer in sorted(opened)[: max(0, len(opened) - self._limits.links_kept)]:
            if now - used_at >= self._timing.link_idle_seconds and peer not in greeted:
                self._idle[peer] = None

    def forget(self, peer: PeerId) -> None:
        """The peer has left: close the link, and wait to be greeted. It may be long lost."""
        self._greetings_end(peer)
        link = self._links.pop(peer, None)
        if link is not None and link.is_open:
            self._outbox.connect(peer, None)

    def revoke(self, peers: tuple[PeerId, ...]) -> None:
        """These are neither heard nor spoken to any more."""
        self.revoked = dict.fromkeys(peers)
        for peer in peers:
            self.forget(peer)

    def lose(self, peer: PeerId) -> None:
        """The peer is no member any more, but may come back: where it was is still greeted."""
        link = self._links.pop(peer, None)
        if link is not None and link.is_open:
            greeting = self._greetings.get(link.address)
            if greeting is None or greeting.target != peer:
                self._outbox.connect(peer, None)

    def acquaintance(self, peer: PeerId, now: float) -> Acquaintance | None:
        """What is known of the link to a peer; None: it has not been met, nor heard of."""
        link = self._links.get(peer)
        if link is None:
            return None
        greeting = self._greetings.get(link.address)
        pause = 0.0 if greeting is None else greeting.interval
        return Acquaintance(link.address, link.epoch, link.is_open, now - link.used_at, pause)

    def counts(self) -> tuple[int, int, int]:
        """Peers that are known, links that are open, addresses that are greeted."""
        open_count = sum(link.is_open for link in self._links.values())
        return len(self._links), open_count, len(self._greetings)

    def able_of(self, peer: PeerId) -> Able | None:
        """What the release of a peer can do; None: it was not met in its present epoch."""
        if peer == self._peer:
            return self.able
        link = self._links.get(peer)
        return None if link is None else link.able

    def is_linked(self, peer: PeerId) -> bool:
        return peer in self._links
