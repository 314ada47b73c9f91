import signal
from collections.abc import Iterator

import pytest

from mabeam_p2p.api.results.evidence import Follower
from mabeam_p2p.cli.why import OBSTACLES, follower_line
from tests.cli.daemons import Daemon, House, house, mabeam, told, until

pytestmark = pytest.mark.slow
NAMES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, Daemon]]:
    with house() as place:
        yield dict(zip(NAMES, started(place), strict=True))


def started(place: House) -> list[Daemon]:
    return place.started(*NAMES)


def why(peer: str, by: str) -> dict[str, object]:
    return told("why", peer, "--addr", by)


def reasons(seen: dict[str, object]) -> list[object]:
    """Why it does not lead."""
    obstacles = seen["obstacles"]
    assert isinstance(obstacles, list)
    return [obstacle["reason"] for obstacle in obstacles]


def leader() -> str:
    return str(told("status")["leader_name"])


def test_a_peer_that_nobody_knows_is_named_with_where_to_look(daemons: dict[str, Daemon]) -> None:
    result = mabeam("why", "nobody")
    assert result.exit_code == 1
    assert "'nobody'" in result.stderr
    assert "mabeam members" in result.stderr


def test_the_leader_tells_how_far_a_follower_is(daemons: dict[str, Daemon]) -> None:
    def is_told() -> bool:
        head = leader()
        other = next(name for name in NAMES if name != head)
        text = mabeam("why", other, "--addr", head).stdout
        assert f"{other} is alive, as {head} sees it" in text
        assert "all that is committed" in text
        assert "does not lead: somebody else leads" in text
        assert "leads in term" in mabeam("why", head, "--addr", other).stdout
        return bool((why(other, head)["follower"] or {}).get("caught_up"))  # type: ignore[attr-defined]

    until(is_told, but=AssertionError)


def test_a_peer_tells_of_itself(daemons: dict[str, Daemon]) -> None:
    seen = why("ant", "ant")
    assert (seen["is_self"], seen["by"], seen["state"]) == (True, "ant", "alive")
    assert (seen["hearing"], seen["link"]) == (None, None)
    assert "disk:" in mabeam("why", "ant", "--addr", "ant").stdout


def test_a_killed_peer_is_told_with_its_silence_and_who_suspects_it(
    daemons: dict[str, Daemon],
) -> None:
    head = leader()
    victim, witness = (name for name in NAMES if name != head)
    daemons[victim].signal(signal.SIGKILL)
    daemons[victim].wait()
    until(lambda: why(victim, head)["doubt"])
    text = mabeam("why", victim, "--addr", head).stdout
    assert "suspect" in text or "dead" in text
    until(lambda: why(victim, witness)["state"] == "dead")
    seen = why(victim, witness)
    assert reasons(seen)[0] == "dead"
    text = mabeam("why", victim, "--addr", witness).stdout
    assert f"{victim} is dead, as {witness} sees it" in text
    assert "does not lead: it counts as dead" in text


def test_of_a_follower_that_has_said_nothing_yet_no_distance_is_told() -> None:
    silent, heard = Follower("probe", 0, 9, 1, 0.5, False), Follower("probe", 7, 9, 1, 0.5, False)
    assert "it has not said how far it is" in follower_line(silent, 1_000)
    assert "993 entries behind (match 7," in follower_line(heard, 1_000)


def test_every_obstacle_that_a_core_names_has_words() -> None:
    """What `protocol/node/evidence.py` and `protocol/preference.py` can say."""
    assert set(OBSTACLES) >= {
        "no_member", "suspect", "dead", "left", "no_vote", "unfit", "leader_in_office",
        "not_caught_up", "score_too_low", "waits", "handing_over", "not_told", "no_cluster",
        "no_quorum", "nobody_eligible", "election",
    }  # fmt: skip
