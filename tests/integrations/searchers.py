"""Blocking peers and agents in this process, for those who cannot await."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from mabeam_p2p import Config, blocking


@contextmanager
def hosts(count: int = 3) -> Iterator[list[blocking.Peer]]:
    """So many peers that are about to form a cluster."""
    peers: list[blocking.Peer] = []
    seeds: tuple[str, ...] = ()
    try:
        for number in range(count):
            config = Config(
                name=f"p{number}",
                cluster="search",
                data_dir=":memory:",
                mdns=False,
                seeds=seeds,
                expect=count,
            )
            peers.append(blocking.Peer(config))
            peers[-1].start()
            seeds = (*seeds, peers[-1].status().address)
        yield peers
    finally:
        # Together: one by one, the last ones would look for a quorum that is gone.
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(blocking.Peer.close, peers))


@contextmanager
def searchers(count: int = 3) -> Iterator[list[blocking.Agent]]:
    """One agent on each of so many peers, called a0, a1, ..."""
    with hosts(count) as peers, ThreadPoolExecutor(count) as threads:
        yield list(threads.map(lambda one: one[1].agent(f"a{one[0]}"), enumerate(peers)))
