"""How many files and connections this process may have open, and who gets them.

Links to other peers, connections that others have only begun, and the disk need them as well as
clients: with none left a peer takes no new link until some are closed.
"""

import resource

CLIENTS_MAX = 1_024
"""Clients that one daemon serves, where the system allows as many descriptors."""
CLIENTS_LEAST = 16
CLIENTS_SPARE = 8
"""Beside those, without an agent: people who look why there are so many."""
CLIENTS_TOLD = 8
"""Beyond all of those, connections that are heard out and told that there are too many. Who is told
before it has said a word may not hear it: what it writes then fails first."""
WANTED = 16_384
"""Descriptors: for a thousand members, as many clients, and as many connections that come to
nothing."""


def raise_limit() -> None:
    """Take as many as the system allows without asking anybody, up to WANTED."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def clients_max() -> int:
    """A quarter of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CLIENTS_MAX
    return min(CLIENTS_MAX, max(CLIENTS_LEAST, soft // 4))
