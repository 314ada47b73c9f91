import pytest

from mabeam_p2p.transport import link


@pytest.fixture(autouse=True)
def links_open_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said before a link is open is kept for a second, and some machine stands still for
    longer: a test that waits for it would wait for ever."""
    monkeypatch.setattr(link, "OPENING_SECONDS_MAX", 60.0)
