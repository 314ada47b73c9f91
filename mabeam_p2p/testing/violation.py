"""What every checker raises."""


class Violation(Exception):
    """An invariant does not hold. `rule`: its name, as in I6 or liveness."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail

    def __reduce__(self) -> tuple[type["Violation"], tuple[str, str]]:
        """For the way from one process to another."""
        return Violation, (self.rule, self.detail)


class LiarVotes(Exception):
    """A member that lies is made a voter. What it has said of its log is counted from here on, and
    Raft promises nothing among voters that lie: the run ends."""
