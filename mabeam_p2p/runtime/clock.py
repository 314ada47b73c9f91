"""The one place of the shell that reads clocks."""

import time


class SystemClock:
    """The Clock of `ports`, by the operating system."""

    def __init__(self) -> None:
        self._wall = time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return self._wall
