"""A switch between hosts, as a program: tap_switch.py SEED NUMBER=NAMESPACE...

Each host gets a card whose cable ends here. NAMESPACE: an inherited descriptor. Commands come on
standard input, one line of JSON each; each is answered with `done` once it holds. It ends with its
standard input.
"""

import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import selectors
import struct
import sys
import time
from typing import Any

SET_INTERFACE, SET_CARRIER = 0x400454CA, 0x400454E2
TAP, NO_PACKET_INFORMATION = 0x0002, 0x1000
"""Of Linux' if_tun.h."""
NEW_NETWORK = 0x40000000
FRAMES_PER_TURN = 64
FRAME_BYTES_MAX = 65_536
ARP, IPV4, IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
ICMP6, SOLICITS = 58, (135, 136)


class Switch:
    def __init__(self, seed: int, taps: dict[int, int]) -> None:
        self.taps = taps
        self._random = random.Random(seed)
        self._cut: set[tuple[int, int]] = set()
        self._mute: set[tuple[int, int]] = set()
        self._faults: dict[str, Any] = {"multicast": True, "loss": 0, "delay": 0, "jitter": 0}
        self._places: dict[bytes, int] = {}
        """Behind which port each card was last heard."""
        self._late: list[tuple[float, int, int, bytes]] = []
        self._last_due: dict[tuple[int, int], float] = {}
        self._numbers = itertools.count()

    def command(self, word: dict[str, Any]) -> None:
        if "carrier" in word:
            host, on = word["carrier"]
            fcntl.ioctl(self.taps[host], SET_CARRIER, struct.pack("i", int(on)))
            return
        self._faults = word["faults"]
        self._cut = {(a, b) for a, b in self._faults["cut"]}
        self._mute = {(a, b) for a, b in self._faults["mute"]}

    def take(self, source: int, frame: bytes, now: float) -> None:
        self._places[frame[6:12]] = source
        target = None if frame[0] & 1 else self._places.get(frame[:6])
        for port in self.taps if target is None else (target,):
            if port != source and self._passes(source, port, frame):
                self._send((source, port), frame, now)

    def deliver(self, now: float) -> float | None:
        """Send what is due; seconds until the next is."""
        while self._late and self._late[0][0] <= now:
            _, _, port, frame = heapq.heappop(self._late)
            self._write(port, frame)
        return max(0.0, self._late[0][0] - now) if self._late else None

    def _passes(self, source: int, port: int, frame: bytes) -> bool:
        if (source, port) in self._cut:
            return False
        if _is_resolution(frame):
            return True
        is_multicast = frame[:3] == b"\x01\x00\x5e" or frame[:6] == b"\x33\x33\x00\x00\x00\xfb"
        if (source, port) in self._mute or (is_multicast and not self._faults["multicast"]):
            return False
        return self._random.random() >= float(self._faults["loss"])

    def _send(self, pair: tuple[int, int], frame: bytes, now: float) -> None:
        delay, jitter = float(self._faults["delay"]), float(self._faults["jitter"])
        if not delay and not jitter and not self._late:
            self._write(pair[1], frame)
            return
        due = now + max(0.0, delay + self._random.uniform(-jitter, jitter))
        self._last_due[pair] = due = max(due, self._last_due.get(pair, 0.0))
        heapq.heappush(self._late, (due, next(self._numbers), pair[1], frame))

    def _write(self, port: int, frame: bytes) -> None:
        try:
            os.write(self.taps[port], frame)
        except OSError:
            return  # The card is down, or its queue is full: the frame is lost.


def _is_resolution(frame: bytes) -> bool:
    """Of an address on this network: ARP, or neighbour discovery."""
    kind = frame[12:14]
    return kind == ARP or (
        kind == IPV6 and len(frame) > 54 and frame[20] == ICMP6 and frame[54] in SOLICITS
    )


def open_taps(places: dict[int, int]) -> dict[int, int]:
    library = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    taps = {}
    for number, namespace in places.items():
        _enter(library, namespace)
        taps[number] = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = TAP | NO_PACKET_INFORMATION
        fcntl.ioctl(taps[number], SET_INTERFACE, struct.pack("16sH22x", b"eth0", flags))
        os.close(namespace)
    _enter(library, own)
    os.close(own)
    return taps


def _enter(library: ctypes.CDLL, namespace: int) -> None:
    if library.setns(namespace, NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def serve(switch: Switch) -> None:
    ports = {descriptor: number for number, descriptor in switch.taps.items()}
    said = b""
    with selectors.DefaultSelector() as selector:
        for descriptor in (0, *ports):
            selector.register(descriptor, selectors.EVENT_READ)
        say("done")
        wait = None
        while True:
            for key, _ in selector.select(wait):
                if key.fd != 0:
                    forward(switch, ports[key.fd], key.fd)
                    continue
                data = os.read(0, FRAME_BYTES_MAX)
                if not data:
                    return
                *lines, said = (said + data).split(b"\n")
                for line in lines:
                    switch.command(json.loads(line))
                    say("done")
            wait = switch.deliver(time.monotonic())


def forward(switch: Switch, number: int, descriptor: int) -> None:
    for _ in range(FRAMES_PER_TURN):
        try:
            frame = os.read(descriptor, FRAME_BYTES_MAX)
        except OSError:
            return  # There is no more, or the card is down.
        switch.take(number, frame, time.monotonic())


def say(word: str) -> None:
    os.write(1, word.encode() + b"\n")


if __name__ == "__main__":
    words = [word.split("=") for word in sys.argv[2:]]
    given = {int(number): int(namespace) for number, namespace in words}
    serve(Switch(int(sys.argv[1]), open_taps(given)))
