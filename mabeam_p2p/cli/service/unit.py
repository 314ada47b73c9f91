"""The text of a systemd unit that runs one peer, and what a unit file says of itself.

Rules
1. A word of the command line arrives at the program as it was given: what systemd would read
   otherwise is escaped (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers").
2. The first line holds a hash of the others, so that a unit that somebody has changed by hand is
   known from one that an earlier release has written.
3. A unit of the system runs as the user whose programs attach to the peer, never as root.
"""

import hashlib
import re

from msgspec import Struct

from mabeam_p2p.errors import ConfigError

WATCHDOG_SECONDS = 10
START_SECONDS = 30
"""A peer whose loop turns asks for more while it waits for its cluster."""
RESTART_SECONDS = 2
"""Between the end of a peer that failed and its next start, of which there may be many."""
STOP_SECONDS = 10
"""The peer needs less than two; then systemd kills it."""

_MARK = "# Written by mabeam. Hash of what follows: "
_PEER = re.compile(
    r"^ExecStart=.*? up --no-invite --name ([\w.-]+) --cluster ([\w.-]+)", re.MULTILINE
)
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\t": "\\t", "\n": "\\n"}

_OF_BOTH = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
LimitNOFILE=65536
"""
"""What a manager without privileges can enforce, too."""

_OF_SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
"""


class Service(Struct, frozen=True):
    """What is to run."""

    cluster: str
    name: str
    command: tuple[str, ...]
    """The program and its words; the program is an absolute path."""
    user: str = ""
    """Whose a unit of the system is; empty: a unit of the user's own manager."""
    state_home: str = ""
    """Where a unit of a user's own manager keeps what it keeps; an absolute path."""
    writable: tuple[str, ...] = ()
    """Folders, besides those of systemd's making, that the peer writes to."""

    @property
    def unit_name(self) -> str:
        return f"mabeam-{self.cluster}-{self.name}.service"


def text_of(service: Service) -> str:
    """The whole unit file. Raises ConfigError for a word that no unit can hold."""
    words = [_program(service.command[0]), *map(quoted, service.command[1:])]
    is_system = bool(service.user)
    lines = ["[Unit]", f"Description=mabeam peer {service.name} of cluster {service.cluster}"]
    if is_system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += [
        "# However often: a network, or a disk with room, may come minutes later.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={' '.join(words)}",
        f"TimeoutStartSec={START_SECONDS}",
        f"TimeoutStopSec={STOP_SECONDS}",
        f"WatchdogSec={WATCHDOG_SECONDS}",
        "KillMode=mixed",
        "Restart=on-failure",
        f"RestartSec={RESTART_SECONDS}",
        "# Refused by its cluster, used wrongly, badly configured: it would be so again.",
        "RestartPreventExitStatus=1 2 78",
    ]
    if is_system:
        lines += _of_user(service)
    elif service.state_home:
        # Else another peer would begin where the manager has another one than this shell.
        lines.append(f"Environment={_path(f'XDG_STATE_HOME={service.state_home}')}")
    lines += [_OF_BOTH.rstrip()]
    if is_system:
        lines += [_OF_SYSTEM.rstrip()]
    target = "multi-user.target" if is_system else "default.target"
    lines += ["", "[Install]", f"WantedBy={target}", ""]
    body = "\n".join(lines)
    return f"{_MARK}{_hash(body)}\n{body}"


def _of_user(service: Service) -> list[str]:
    # One place of each kind for all peers of the user: they share what is the user's.
    folder = f"mabeam/{service.user}"
    lines = [
        f"User={service.user}",
        f"StateDirectory={folder}",
        "StateDirectoryMode=0700",
        f"RuntimeDirectory={folder}",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
        f"Environment=XDG_STATE_HOME=%S/{folder} XDG_RUNTIME_DIR=%t/{folder}",
    ]
    if service.writable:
        # One that is not there is for the peer to complain of: systemd would try again for ever.
        paths = (_path("-" + path) for path in service.writable)
        lines.append(f"ReadWritePaths={' '.join(paths)}")
    return lines


def peer_of(text: str) -> tuple[str, str] | None:
    """Cluster and name of the peer that the unit runs; None: it is not ours, or does not say."""
    found = _PEER.search(text) if is_ours(text) else None
    return None if found is None else (found[2], found[1])


def is_as_written(text: str) -> bool:
    """Whether the file is as this package, of whatever release, has written it."""
    first, _, body = text.partition("\n")
    return first == f"{_MARK}{_hash(body)}"


def is_ours(text: str) -> bool:
    """Whether this package has written it, changed since or not."""
    return text.startswith(_MARK)


def quoted(word: str) -> str:
    """A word of a unit's command line that arrives as `word`. Raises ConfigError."""
    if any(ord(letter) < 32 and letter not in _ESCAPED for letter in word):
        raise ConfigError(f"{word!r} has a control character: a unit cannot hold it")
    text = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return text
    return '"' + "".join(_ESCAPED.get(letter, letter) for letter in text) + '"'


def _path(path: str) -> str:
    """A word of a list: variables are expanded in command lines alone."""
    return quoted(path).replace("$$", "$")


def _program(path: str) -> str:
    # systemd expands no variables in the first word, and takes some first letters for orders.
    if not path.startswith("/") or "$" in path:
        raise ConfigError(f"{path!r} cannot begin a unit's command: an absolute path without $ can")
    return quoted(path)


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
