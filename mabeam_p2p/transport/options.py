"""Every option of every socket, with its value and its reason. Set before bind and connect.

Left as they are, on purpose: ROUTING_ID (a fixed one can be stolen, and a peer that reconnects
before its old connection is dropped would be ignored), ROUTER_HANDOVER (needless with random ids),
CONFLATE (keeps the last message only), and HEARTBEAT_IVL: libzmq 4.3.5 aborts the process where a
connection ends while as much waits as may (RCVHWM) and a PING is behind it (its issue 4364). So
whoever had stood still for a second was ended by what waited for it. The system's own probes notice
who has vanished; who stands still is for the membership to notice.
"""

from typing import NamedTuple

import zmq

RECEIVED_MAX = 64
"""Frames that wait for the loop: of one connection so many, and of all together no more bytes than
so many of the largest (`backlog`)."""


class Option(NamedTuple):
    name: int
    value: int
    reason: str


_PROBES = (
    Option(zmq.TCP_KEEPALIVE, 1, "who has vanished holds no descriptor"),
    Option(zmq.TCP_KEEPALIVE_IDLE, 1, "s without a word, then the system asks"),
    Option(zmq.TCP_KEEPALIVE_INTVL, 1, "s between two questions"),
    Option(zmq.TCP_KEEPALIVE_CNT, 3, "questions without an answer end the connection"),
)


def context_options() -> tuple[Option, ...]:
    return (
        Option(zmq.IO_THREADS, 1, "one thread moves more than one Python loop can eat"),
        Option(zmq.MAX_SOCKETS, 4096, "a link per member and candidate, and the closing ones"),
    )


def router_options(frame_bytes_max: int) -> tuple[Option, ...]:
    """Of the socket that receives."""
    return (
        *_common_options(frame_bytes_max),
        Option(zmq.ROUTER_MANDATORY, 1, "never a silent drop, should it ever send"),
        Option(zmq.RCVHWM, RECEIVED_MAX, "frames of one connection that wait for the loop"),
        Option(zmq.SNDHWM, 1, "it never sends"),
        Option(zmq.BACKLOG, 1024, "with 100, bursts of connects lose a second to a dropped SYN"),
    )


def dealer_options(frame_bytes_max: int) -> tuple[Option, ...]:
    """Of a socket that sends to one target."""
    return (
        *_common_options(frame_bytes_max),
        Option(zmq.TCP_MAXRT, 2000, "ms; what was said and nobody acknowledges ends a connection"),
        Option(zmq.IMMEDIATE, 1, "queues nothing for a peer that is down: no stale messages"),
        Option(zmq.SNDHWM, 1000, "frames that wait for a slow peer; then sending says no"),
        Option(zmq.RCVHWM, 1, "it never receives; whoever sends into it is not read"),
        Option(zmq.CONNECT_TIMEOUT, 1000, "ms; the system's SYN back-off would take half a minute"),
        Option(zmq.RECONNECT_IVL, 100, "ms; a peer that restarts is reached soon"),
        Option(zmq.RECONNECT_IVL_MAX, 1000, "ms; 2000 and more delay the end of a partition"),
    )


def join_context_options() -> tuple[Option, ...]:
    return (
        Option(zmq.IO_THREADS, 1, "of its own: strangers do not take the members' one"),
        Option(zmq.MAX_SOCKETS, 256, "a few introductions at a time, and the closing ones"),
    )


def join_server_options() -> tuple[Option, ...]:
    """Of the socket that answers introductions."""
    return (
        *_join_options(),
        Option(zmq.ROUTER_MANDATORY, 1, "never a silent drop"),
        Option(zmq.RCVHWM, 4, "words of one connection that wait for the loop"),
        Option(zmq.SNDHWM, 4, "answers that wait for a slow reader; then it gets none"),
        Option(zmq.BACKLOG, 128, "connections that wait; more are dropped, and come again"),
    )


def join_client_options() -> tuple[Option, ...]:
    """Of a socket for one introduction."""
    return (
        *_join_options(),
        Option(zmq.SNDHWM, 4, "it says two words"),
        Option(zmq.RCVHWM, 4, "and hears two"),
        Option(zmq.CONNECT_TIMEOUT, 1000, "ms; the system's SYN back-off would take half a minute"),
        Option(zmq.RECONNECT_IVL, 100, "ms; a peer that starts is reached soon"),
        Option(zmq.RECONNECT_IVL_MAX, 1000, "ms; the attempt ends after three seconds"),
    )


def _join_options() -> tuple[Option, ...]:
    return (
        *_PROBES,
        Option(zmq.LINGER, 0, "an introduction is over, or tried again"),
        Option(zmq.HANDSHAKE_IVL, 2000, "ms; silent connections do not hold descriptors for 30 s"),
        Option(zmq.MAXMSGSIZE, 4096, "bytes; without it a stranger fills the memory"),
        Option(zmq.IPV6, 1, "both families on one socket"),
    )


def bulk_router_options(message_bytes_max: int) -> tuple[Option, ...]:
    """Of the socket that receives bulk data."""
    return (
        *_bulk_options(message_bytes_max),
        Option(zmq.ROUTER_MANDATORY, 1, "never a silent drop, should it ever send"),
        Option(zmq.RCVHWM, 8, "chunks of one connection that wait for the thread"),
        Option(zmq.SNDHWM, 1, "it never sends"),
        Option(zmq.BACKLOG, 1024, "with 100, bursts of connects lose a second to a dropped SYN"),
    )


def bulk_dealer_options(message_bytes_max: int) -> tuple[Option, ...]:
    """Of a socket that sends bulk data to one target."""
    return (
        *_bulk_options(message_bytes_max),
        Option(zmq.TCP_MAXRT, 10_000, "ms; a full pipe holds back acknowledgements, too"),
        Option(zmq.IMMEDIATE, 1, "queues nothing for a process that is down"),
        Option(
            zmq.SNDHWM, 4, "chunks that wait for a slow target; the others get theirs meanwhile"
        ),
        Option(zmq.RCVHWM, 1, "it never receives; whoever sends into it is not read"),
        Option(zmq.CONNECT_TIMEOUT, 1000, "ms; the system's SYN back-off would take half a minute"),
        Option(zmq.RECONNECT_IVL, 10, "ms; who begins first is told to try again, and soon"),
        Option(zmq.RECONNECT_IVL_MAX, 1000, "ms; 2000 and more delay the end of a partition"),
    )


def _bulk_options(message_bytes_max: int) -> tuple[Option, ...]:
    return (
        Option(zmq.LINGER, 0, "who closes has been told that all have everything"),
        *_PROBES,
        Option(zmq.HANDSHAKE_IVL, 2000, "ms; silent connections do not hold descriptors for 30 s"),
        Option(zmq.MAXMSGSIZE, message_bytes_max, "bytes; without it a stranger fills the memory"),
        Option(zmq.IPV6, 1, "both families on one socket"),
    )


def _common_options(frame_bytes_max: int) -> tuple[Option, ...]:
    return (
        Option(zmq.LINGER, 0, "a peer that cannot be reached must not delay the exit"),
        *_PROBES,
        Option(zmq.HANDSHAKE_IVL, 2000, "ms; silent connections do not hold descriptors for 30 s"),
        Option(zmq.MAXMSGSIZE, frame_bytes_max, "bytes; without it a stranger fills the memory"),
        Option(zmq.IPV6, 1, "both families on one socket"),
    )
