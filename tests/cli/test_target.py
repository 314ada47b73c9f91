"""What verbs take from the settings, without a daemon."""

import click
import pytest
from click.testing import CliRunner

from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.cli.target import Target, verb
from mabeam_p2p.ids import SessionId


def test_a_question_has_the_timing_and_the_limits_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Attachment] = []

    async def opened(backend: AttachedBackend, session: SessionId) -> int:
        return 1

    async def look(target: Target) -> None:
        async with target.question() as attachment:
            seen.append(attachment)

    monkeypatch.setattr(AttachedBackend, "open", opened)
    monkeypatch.setenv("MABEAM_TIMING__REQUEST_TIMEOUT_SECONDS", "7.5")
    monkeypatch.setenv("MABEAM_LIMITS__SESSION_WINDOW", "77")
    result = CliRunner().invoke(click.command()(verb(look)))
    assert result.exit_code == 0, result.output
    (attachment,) = seen
    assert attachment.timing.request_timeout_seconds == 7.5
    assert attachment.limits.session_window == 77
