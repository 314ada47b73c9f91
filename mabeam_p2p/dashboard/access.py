"""Who may look at the dashboard. Decides, and does no I/O.

1. Only GET: nothing can be changed here.
2. The Host header is an IP address, `localhost`, or, where others may come, this host's name: a
   page of another site whose name was made to point here (DNS rebinding) is refused.
3. What a browser fetches for a page of another origin is refused.
4. With a token, facts are given to whoever says it: `Authorization: Bearer TOKEN`, compared in
   constant time. The page itself holds no facts. A token never stands in a URL that is sent.
5. Without a token the kernel must say that the process at the other end is of this user, where it
   can be asked: other users of this host are strangers.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from mabeam_p2p.addresses import LOCAL_NAMES, is_host_header_of

TOKEN_LENGTH_MIN = 16


class Refusal(NamedTuple):
    """An HTTP status and what the reader can do."""

    status: int
    reason: str
    """A stable word, as counters and tests name it."""
    text: str


METHOD = Refusal(405, "method", "The dashboard only answers GET.")
HOST = Refusal(
    403,
    "host",
    "This dashboard is not called so. Open it by an IP address or `localhost`, or from another "
    "host by the name that `hostname` prints on this one.",
)
ORIGIN = Refusal(403, "origin", "Another site's page has asked for this: open it by itself.")
USER = Refusal(
    403,
    "user",
    "Without a token this dashboard serves the user alone that runs the peer. Start the peer with "
    "--dashboard-token FILE to let others in.",
)
TOKEN = Refusal(401, "token", "The token is missing or wrong.")

REASONS = tuple(one.reason for one in (METHOD, HOST, ORIGIN, USER, TOKEN))


class Access:
    """names: what this host is called, for who comes from elsewhere; empty on loopback. token None:
    the user decides."""

    def __init__(self, *, names: tuple[str, ...] = (), token: str | None = None) -> None:
        self._names = frozenset(name.lower() for name in (*LOCAL_NAMES, *names) if name)
        # Of the token no more is kept than what recognises it.
        self._digest = None if token is None else _digest(token)

    @property
    def has_token(self) -> bool:
        return self._digest is not None

    def of_request(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why the request is not answered at all; None: it may be."""
        if method != "GET":
            return METHOD
        host = headers.get("Host", "")
        if not is_host_header_of(host, self._names):
            return HOST
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in (
            f"http://{host.lower()}",
            f"https://{host.lower()}",
        ):
            return ORIGIN
        site = headers.get("Sec-Fetch-Site", "none")
        is_visit = headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("same-origin", "none") and not is_visit:
            return ORIGIN
        return None

    def of_user(self, user: int | None, own: int) -> Refusal | None:
        """user: whose process is at the other end; None: the system does not tell."""
        return USER if self._digest is None and user not in (None, own) else None

    def of_facts(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why facts are not given, to a request that may be answered."""
        if self._digest is None:
            return None
        scheme, _, said = headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(_digest(said.strip()), self._digest)
        return None if is_right and scheme.lower() == "bearer" else TOKEN


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
