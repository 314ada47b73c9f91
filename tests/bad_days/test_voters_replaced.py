"""Who votes, at real processes: nobody has to say it, and everybody can."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.daemons import CLUSTER, House, house, mabeam, states, told, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with house() as place:
        monkeypatch.setenv("MABEAM_TIMING__VOTER_GRACE_SECONDS", "1")
        monkeypatch.setenv("MABEAM_TIMING__VOTER_CHANGE_SECONDS", "0.2")
        yield place


def folder_of(place: House, name: str) -> Path:
    return place.folder / "state" / "mabeam" / CLUSTER / name


def voters(at: str) -> list[str]:
    """Ids."""
    found = told("status", "--addr", at)["voters"]
    assert isinstance(found, list)
    return [str(voter) for voter in found]


def peer_of(name: str) -> str:
    return str(told("status", "--addr", name)["peer"])


def test_a_wiped_disk_comes_back_as_another_peer_and_takes_the_place_of_the_dead_one(
    place: House,
) -> None:
    _, _, cow = place.started("ant", "bee", "cow")
    before, lost = voters("ant"), peer_of("cow")
    seed = str(told("status", "--addr", "ant")["address"])
    assert mabeam("propose", "rate", "1", "--timeout", "1", "--addr", "ant").exit_code in (0, 1, 75)
    cow.signal(signal.SIGKILL)
    cow.wait()
    shutil.rmtree(folder_of(place, "cow"))
    until(lambda: states("ant")["cow"] == "dead")
    back = place.start("--expect", "3", "--seed", seed, name="cow")
    assert [back.line()["event"], back.line()["event"]] == ["listening", "ready"]
    reborn = peer_of("cow")
    assert reborn != lost
    until(lambda: reborn in voters("ant") and len(voters("ant")) == 3)
    assert voters("ant") == sorted([*(peer for peer in before if peer != lost), reborn])
    until(lambda: told("status", "--addr", "cow")["role"] in ("follower", "leader"))


def test_a_peer_is_taken_out_of_the_voters_by_command_and_stays_out_until_it_is_promoted(
    place: House,
) -> None:
    place.started("ant", "bee", "cow")
    seed = str(told("status", "--addr", "ant")["address"])
    dog = place.start("--expect", "3", "--seed", seed, name="dog")
    assert [dog.line()["event"], dog.line()["event"]] == ["listening", "ready"]
    bee, added = peer_of("bee"), peer_of("dog")
    listed = told("voters", "list", "--addr", "ant")
    assert mabeam("voters", "remove", "bee", "--index", "999", "--addr", "ant").exit_code == 1
    done = told("voters", "remove", "bee", "--index", str(listed["index"]), "--addr", "cow")
    assert done["votes"] is False
    until(lambda: bee not in voters("ant"))
    until(lambda: added in voters("bee"))
    until(lambda: told("status", "--addr", "bee")["role"] == "learner")
    until(lambda: told("status", "--addr", "bee")["barred"] == [bee])
    assert "voters promote bee" in mabeam("status", "--addr", "bee").stderr

    def part_of_bee() -> object:
        members = told("members", "--addr", "ant")["members"]
        assert isinstance(members, list)
        return {member["name"]: member["part"] for member in members}["bee"]

    until(lambda: part_of_bee() == "learner")
    assert told("voters", "promote", "bee", "--addr", "bee")["votes"] is True
    until(lambda: bee in voters("cow"))
    refused = mabeam("voters", "promote", "nobody", "--addr", "ant")
    assert (refused.exit_code, "mabeam members" in refused.stderr) == (1, True)


def test_a_cluster_that_has_lost_its_majority_for_ever_goes_on_from_one_repaired_peer(
    place: House,
) -> None:
    ant, bee, cow = place.started("ant", "bee", "cow")
    assert mabeam("set", "rate", "0.5", "--wait", "all").exit_code == 0
    old = str(told("status", "--addr", "ant")["cluster_id"])
    for daemon in (bee, cow):
        daemon.signal(signal.SIGKILL)
        daemon.wait()
    folder = str(folder_of(place, "ant"))
    held = mabeam("repair", folder, "--yes")
    assert (held.exit_code, "in use" in held.stderr) == (1, True), held.stderr
    ant.signal(signal.SIGKILL)
    ant.wait()

    looked = mabeam("repair", folder)
    assert looked.exit_code == 1
    for word in ("Lost:", "Fenced", "log ends at", "nothing was changed"):
        assert word in looked.stdout + looked.stderr
    done = told("repair", folder, "--yes")
    assert (done["done"], done["cluster_id"]) == (True, old)
    ant = place.start("--expect", "3", name="ant")
    seed = ("--seed", str(ant.line()["address"]))
    assert ant.line()["event"] == "ready"
    status = told("status", "--addr", "ant")
    assert (status["cluster_id"], status["quorum"]) == (done["new_cluster_id"], True)
    assert (status["ancestors"], len(voters("ant"))) == ([old], 1)
    assert told("get", "rate", "--addr", "ant")["value"] == 0.5

    bee = place.start("--expect", "3", *seed, name="bee")
    assert bee.wait() != 0
    assert "repaired without it" in bee.said()
    assert "empty data folder" in bee.said()
    for name in ("bee", "cow"):
        shutil.rmtree(folder_of(place, name))
        fresh = place.start("--expect", "3", *seed, name=name)
        assert [fresh.line()["event"], fresh.line()["event"]] == ["listening", "ready"]
    until(lambda: len(voters("ant")) == 3)
    assert told("status", "--addr", "cow")["cluster_id"] == done["new_cluster_id"]
