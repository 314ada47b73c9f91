"""What an attached agent takes from the settings, without a daemon."""

import pytest

from mabeam_p2p import Closed, blocking, connect
from mabeam_p2p.api import connecting
from mabeam_p2p.api.attachment import Attachment
from tests.in_loop import in_loop


@pytest.fixture
def attachments(monkeypatch: pytest.MonkeyPatch) -> list[Attachment]:
    """Those with which agents were about to join."""
    seen: list[Attachment] = []

    async def joined(attachment: Attachment, *_: object, **__: object) -> None:
        seen.append(attachment)
        raise Closed("this is as far as it goes")

    monkeypatch.setattr(connecting, "joined", joined)
    monkeypatch.setenv("MABEAM_TIMING__DEAD_SECONDS", "7.5")
    monkeypatch.setenv("MABEAM_LIMITS__SESSION_WINDOW", "77")
    return seen


def has_settings(attachment: Attachment) -> bool:
    return (attachment.timing.dead_seconds, attachment.limits.session_window) == (7.5, 77)


@in_loop
async def test_an_attached_agent_has_the_timing_and_the_limits_of_the_settings(
    attachments: list[Attachment],
) -> None:
    with pytest.raises(Closed):
        await connect("a")
    assert [has_settings(one) for one in attachments] == [True]


def test_a_blocking_one_has_them_too(attachments: list[Attachment]) -> None:
    with pytest.raises(Closed):
        blocking.connect("a")
    assert [has_settings(one) for one in attachments] == [True]
