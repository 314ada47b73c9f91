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
