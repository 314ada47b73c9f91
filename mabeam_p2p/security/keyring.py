"""What one peer has in secret: its key pair, the join secret of its cluster, and the invitations
that it has given out. Kept in its data folder; a peer without one keeps them in memory.

1. A peer without a join secret takes that of its user on this host, or makes it. So the processes
   of one user find each other without a code. Who joins by a code gets it from its inviter.
2. The gate belongs to a cluster for good; the join secret is rotated. The one before is kept: by it
   members that have missed a rotation are told the present one. Invitations end with it: whoever
   was shut out may have kept a code.
3. Whatever another peer may be told is durable before: a key, a rotation, a use of an invitation.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import zmq
from msgspec import Struct
from zmq.utils import z85

from mabeam_p2p import places
from mabeam_p2p.errors import KeyFileError, Overloaded
from mabeam_p2p.security import files
from mabeam_p2p.security.codes import TOKEN_BYTES, new_gate, new_token
from mabeam_p2p.security.secrets import SECRET_BYTES, Secret, label, mac

KEY_NAME = "peer.key"
SECRET_NAME = "cluster.secret"
INVITATIONS_NAME = "invitations"
JOINED_NAME = "joined"
INVITATIONS_MAX = 256
"""Of those that have not expired. As many fit into the file."""
FILE_VERSION = 1
SHARED_FOLDER = ".secrets"
"""In the user's state folder; no cluster's name begins with a dot."""

_NOT_SHARED = "%s; new peers of this user will need a join code"

_log = logging.getLogger(__name__)

_Content = TypeVar("_Content", "KeyFile", "SecretFile", "JoinedFile")


class Veiled(Struct, forbid_unknown_fields=True):
    """What is written to a file, and never shown."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"


class KeyFile(Veiled):
    version: int
    public: bytes
    secret: bytes
    next_public: bytes = b""
    next_secret: bytes = b""
    """Made, and not yet in the log."""
    former_public: bytes = b""
    former_secret: bytes = b""
    """While the key is rotated: others may know the former one alone."""


class SecretFile(Veiled):
    version: int
    gate: bytes
    current: bytes
    previous: bytes = b""
    proposed: bytes = b""
    """Made here, and not yet committed by the cluster."""


class Invitation(Veiled):
    token: bytes
    expires_at: float
    """Seconds since 1970."""
    once: bool
    used_by: bytes = b""
    """The key that it has let in."""


class JoinedFile(Struct, forbid_unknown_fields=True):
    """No secret, and kept like one: it decides where the peer listens."""

    version: int
    inviter: str
    """The address in the code that let this peer in."""
    code: bytes = b""
    """The label of that code's token."""


class InvitationFile(Veiled):
    version: int
    invitations: list[Invitation]


class KeyPair(Struct, frozen=True):
    """A CURVE key pair; 32 bytes each."""

    public: bytes
    secret: Secret

    def reveal(self) -> bytes:
        return self.secret.reveal()

    def __repr__(self) -> str:
        return f"KeyPair({self.public.hex()[:8]}…, redacted)"


def new_key_pair() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public), Secret(z85.decode(secret)))


def gate_key_pair(gate: Secret) -> KeyPair:
    """Of a cluster's join ports: who knows the gate knows both keys. It keeps strangers out of the
    room where secrets are proved, and proves nothing itself."""
    secret = mac(gate, "gate")
    return KeyPair(z85.decode(zmq.curve_public(z85.encode(secret))), Secret(secret))


class Keyring:
    """Opened with `open_keyring`. Not shared between threads."""

    def __init__(
        self, folder: Path | None, shared: Path | None, pair: KeyPair, *, inviter: str = ""
    ) -> None:
        """inviter: the address in the code by which this peer joins; empty: by none."""
        self.pair = pair
        self.inviter = inviter
        self.next: KeyPair | None = None
        self.former: KeyPair | None = None
        self.gate: Secret | None = None
        """None: this peer has not joined yet."""
        self.current: Secret | None = None
        self.previous: Secret | None = None
        self.proposed: Secret | None = None
        self.spent = b""
        """The label of the code by which this peer was told the join secret; empty: of none."""
        self._folder = folder
        self._shared = shared
        self._invitations: list[Invitation] = []

    # ---- the join secret -----------------------------------------------------------------------

    @property
    def has_joined(self) -> bool:
        return self.current is not None

    def join(self, gate: Secret, secret: Secret, code: bytes = b"") -> None:
        """An inviter has let this peer in, by the code of this label. The other processes of this
        user follow it."""
        self._keep(self.keep_inviter, spent=code)
        self._keep(self._write_secret, gate=gate, current=secret, previous=None, proposed=None)
        self._share(SecretFile(FILE_VERSION, gate.reveal(), secret.reveal()), over_others=True)

    def keep_inviter(self) -> None:
        """Whoever starts this peer again need not say where it listens."""
        if self._folder is not None and self.inviter:
            joined = JoinedFile(FILE_VERSION, self.inviter, self.spent)
            files.write(self._folder / JOINED_NAME, joined)

    def spend(self, code: bytes) -> None:
        """The code of this label has done its work."""
        if code != self.spent:
            self._keep(self.keep_inviter, spent=code)

    def propose(self) -> Secret:
        """A join secret to come; the cluster decides on its label. As long as it has not, the same
        one: its label may be on the way, and nobody else has it."""
        if self.proposed is None:
            self._keep(self._write_secret, proposed=Secret(os.urandom(SECRET_BYTES)))
        assert self.proposed is not None, "made above"
        return self.proposed

    def rotate(self, secret: Secret) -> None:
        """`secret` is the present one from now on, and no invitation counts that was given out."""
        if secret == self.current:
            return
        if self._invitations:
            self._keep(self._write_invitations, _invitations=[])
        # What was proposed here besides may still be agreed on, later.
        proposed = None if secret == self.proposed else self.proposed
        self._keep(self._write_secret, previous=self.current, current=secret, proposed=proposed)
        self._share(self._content(), over_others=False)

    def _keep(self, write: Callable[[], None], **changed: object) -> None:
        """Change these fields, and write them. What cannot be written is as it was before: nobody
        is told of it (rule 3), and it is tried anew."""
        before = {name: getattr(self, name) for name in changed}
        for name, value in changed.items():
            setattr(self, name, value)
        try:
            write()
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _share(self, content: SecretFile, *, over_others: bool) -> None:
        """Take it over into what this user's processes share; that of another cluster only if it is
        to give way. What cannot be written there stops nobody: it is durable here, and all peers of
        the user would end at once."""
        if self._shared is None:
            return
        try:
            if over_others:
                files.make_folder(self._shared.parent)
            else:
                known = files.read(self._shared, SecretFile)
                if known is None or self.gate != Secret(known.gate):
                    return
            files.write(self._shared, content)
        except KeyFileError as error:
            _log.warning(_NOT_SHARED, error)

    def _content(self) -> SecretFile:
        assert self.gate is not None, "written once there is one"
        return SecretFile(
            FILE_VERSION,
            self.gate.reveal(),
            _bytes_of(self.current),
            _bytes_of(self.previous),
            _bytes_of(self.proposed),
        )

    def _write_secret(self) -> None:
        if self._folder is not None:
            files.write(self._folder / SECRET_NAME, self._content())

    def read_secret(self, content: SecretFile) -> None:
        """Become what a file says."""
        self.gate, self.current = Secret(content.gate), Secret(content.current)
        self.previous = Secret(content.previous) if content.previous else None
        self.proposed = Secret(content.proposed) if content.proposed else None

    def use_secret(self, content: SecretFile) -> None:
        """As `read_secret`, and keep it in the data folder."""
        self.read_secret(SecretFile(FILE_VERSION, content.gate, content.current, content.previous))
        self._write_secret()

    # ---- this peer's key -----------------------------------------------------------------------

    def renew_key(self) -> KeyPair:
        """The key pair to come. Nobody knows of it before `take_next`."""
        if self.next is None:
            self._keep(self._write_keys, next=new_key_pair())
        assert self.next is not None, "made above"
        return self.next

    def take_next(self) -> None:
        """The log has admitted it. The one before is kept until `retire_key`."""
        assert self.next is not None, "there is none"
        self._keep(self._write_keys, former=self.pair, pair=self.next, next=None)

    def retire_key(self) -> None:
        self._keep(self._write_keys, former=None)

    def _write_keys(self) -> None:
        if self._folder is not None:
            files.write(self._folder / KEY_NAME, self._key_file())

    def _key_file(self) -> KeyFile:
        content = KeyFile(FILE_VERSION, self.pair.public, self.pair.reveal())
        if self.next is not None:
            content.next_public, content.next_secret = self.next.public, self.next.reveal()
        if self.former is not None:
            content.former_public = self.former.public
            content.former_secret = self.former.reveal()
        return content

    def read_keys(self, content: KeyFile) -> None:
        """Become what a file says."""
        self.pair = KeyPair(content.public, Secret(content.secret))
        if content.next_public:
            self.next = KeyPair(content.next_public, Secret(content.next_secret))
        if content.former_public:
            self.former = KeyPair(content.former_public, Secret(content.former_secret))

    def open_keys(self) -> None:
        """Those of the data folder; new ones if nobody was ever told any. Raises KeyFileError."""
        if self._folder is None:
            return
        files.check_folder(self._folder, self._folder.stat())
        path = self._folder / KEY_NAME
        known = files.read(path, KeyFile)
        if known is None:
            if (self._folder / SECRET_NAME).exists():  # Which is written after it.
                raise KeyFileError(
                    f"{path} is missing, and the others know this peer by the key in it: put it "
                    "back from a copy, or join again as a new peer, with an empty data folder",
                    path=str(path),
                )
            self._write_keys()
        else:
            self.read_keys(_of_this_release(known, path))

    # ---- invitations ---------------------------------------------------------------------------

    def invite(self, *, seconds: float, once: bool, wall: float, again: bool = False) -> Secret:
        """A token that lets peers in for so long, or one of them. Those that have expired give way,
        and as many as must of those that were for one peer and have let it in; no others. again:
        the last one that was made so, by an earlier process of this peer, too, if half of its time
        is left; else another one. Raises KeyFileError, Overloaded."""
        expires_at = wall + seconds
        token = self._token_again(expires_at) if again else new_token()
        if again:
            for one in reversed(self._invitations):
                is_so = Secret(one.token) == self._token_again(one.expires_at)
                if is_so and seconds / 2 <= one.expires_at - wall <= seconds:
                    return Secret(one.token)
        live = [one for one in self._invitations if one.expires_at > wall]
        spent = [one for one in live if one.once and one.used_by]
        excess = max(0, len(live) + 1 - INVITATIONS_MAX)
        if excess > len(spent):
            raise Overloaded(
                f"{len(live)} join codes of this peer are good for peers to come, and it keeps no "
                "more; nothing was made: wait until some have expired, ask another peer for one, "
                "or give out one for several peers"
            )
        kept = [one for one in live if all(one is not other for other in spent[:excess])]
        kept.append(Invitation(token.reveal(), expires_at, once))
        self._keep(self._write_invitations, _invitations=kept)
        return token

    def _token_again(self, expires_at: float) -> Secret:
        """The token of an invitation that is given out again. It follows from this peer's key and
        the time of its end, which tells it from those that were asked for."""
        until = repr(expires_at).encode()
        return Secret(mac(self.pair.secret, "invitation again", until)[:TOKEN_BYTES])

    def invitation(self, name: bytes) -> Secret | None:
        """The token of this label, used up, expired or not."""
        for one in self._invitations:
            if label(Secret(one.token)) == name:
                return Secret(one.token)
        return None

    def use_invitation(self, name: bytes, key: bytes, wall: float) -> str:
        """Let `key` in by the token of this label. Empty, and durable, or why not."""
        for one in self._invitations:
            if label(Secret(one.token)) != name:
                continue
            if one.once and one.used_by and one.used_by != key:
                return "used"
            if wall >= one.expires_at and one.used_by != key:
                return "expired"
            if one.used_by != key:
                used = Invitation(one.token, one.expires_at, one.once, key)
                known = [used if each is one else each for each in self._invitations]
                self._keep(self._write_invitations, _invitations=known)
            return ""
        return "unknown_code"

    def read_invitations(self, content: InvitationFile) -> None:
        self._invitations = content.invitations

    def _write_invitations(self) -> None:
        if self._folder is not None:
            content = InvitationFile(FILE_VERSION, self._invitations)
            files.write(self._folder / INVITATIONS_NAME, content)


def open_keyring(
    folder: Path | None,
    shared: Path | None,
    *,
    joins_gate: Secret | None = None,
    inviter: str = "",
) -> Keyring:
    """What is in the data folder; what is missing is made.

    folder: exists, and is this process's alone; None keeps nothing. shared: the file of this user's
    join secret for this cluster; None: there is none. joins_gate: that of the code which this peer
    was given; it then waits for its inviter, unless it is of that cluster already. inviter: the
    address in that code. Raises KeyFileError.
    """
    keyring = Keyring(folder, shared, new_key_pair(), inviter=inviter)
    keyring.open_keys()
    if folder is not None:
        own = files.read(folder / SECRET_NAME, SecretFile)
        if own is not None:
            keyring.read_secret(_of_this_release(own, folder / SECRET_NAME))
        given = files.read(folder / INVITATIONS_NAME, InvitationFile)
        if given is not None:
            keyring.read_invitations(given)
        joined = files.read(folder / JOINED_NAME, JoinedFile)
        if joined is not None:
            keyring.spent = _of_this_release(joined, folder / JOINED_NAME).code
    if joins_gate is not None and keyring.gate != joins_gate:
        # Of no cluster, or of one that it leaves: nothing is known of the new one yet.
        keyring.gate, keyring.current, keyring.previous = joins_gate, None, None
        keyring.proposed = None
    elif keyring.current is None:
        keyring.use_secret(_shared_secret(shared))
    else:
        keyring.keep_inviter()
    return keyring


def inviter_of(folder: Path) -> str:
    """The address in the code that let the peer of this data folder in; empty: none did. Raises
    KeyFileError."""
    path = folder / JOINED_NAME
    known = files.read(path, JoinedFile)
    return "" if known is None else _of_this_release(known, path).inviter


def is_secured(folder: Path) -> bool:
    """Whether the peer of this data folder has had a key."""
    return any((folder / name).exists() for name in (KEY_NAME, SECRET_NAME, JOINED_NAME))


def shared_path(cluster: str) -> Path | None:
    """The file of this user's join secret for the cluster of this name; None: no home for it."""
    folder = places.state_folder()
    return None if folder is None else folder / SHARED_FOLDER / cluster


def _shared_secret(shared: Path | None) -> SecretFile:
    fresh = SecretFile(FILE_VERSION, new_gate().reveal(), os.urandom(SECRET_BYTES))
    if shared is None:
        return fresh
    try:
        files.make_folder(shared.parent)
    except KeyFileError as error:
        if not isinstance(error.__cause__, OSError) or error.is_full:
            raise
        # Nobody's fault: a home that cannot be written. Others need a code, then.
        _log.warning(_NOT_SHARED, error)
        return fresh
    known = files.read(shared, SecretFile)
    if known is None:
        if files.create(shared, fresh):
            return fresh
        known = files.read(shared, SecretFile)
    if known is None:
        raise KeyFileError(f"{shared} comes and goes: who removes it?", path=str(shared))
    return _of_this_release(known, shared)


def _of_this_release(content: _Content, path: Path) -> _Content:
    if content.version != FILE_VERSION:
        raise KeyFileError(
            f"{path} is of version {content.version}, and this release reads {FILE_VERSION}: "
            "install the release that wrote it, or a later one",
            path=str(path),
        )
    return content


def _bytes_of(secret: Secret | None) -> bytes:
    return b"" if secret is None else secret.reveal()
