"""A member claims writes that others never made: what it has claimed is taken back, and no write of
anybody is lost by it."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.messages import TreeAnswer, TreeDone, VariablePush
from mabeam_p2p.protocol.variables.intake import AHEAD_MAX, EPOCH_BITS
from mabeam_p2p.protocol.vector_clock import Vector, counter_of
from mabeam_p2p.records import Sibling, Variable
from mabeam_p2p.requests import WAIT_ALL
from tests.protocol.variables_network import Network, Site, X, change, peer_id, pushes

WRITER, READER, LIAR = peer_id(1), peer_id(2), peer_id(3)
BEGIN = 1 << EPOCH_BITS
"""What all begin to count from."""
EVIL = 1 << 40
"""Its clock: later than any."""


class Unjudged(Network):
    """With writes that nobody made, of which its ghosts know nothing."""

    def check(self) -> None:
        pass


def three() -> tuple[Network, Site, Site, Site]:
    network = Unjudged(3)
    network.run(5.0)
    network.deliver_all()
    writer, reader, liar = network.sites
    return network, writer, reader, liar


def claiming(counter: int, *siblings: Sibling, name: str = "x") -> VariablePush:
    return VariablePush(0, (Variable(name, "lww", ((WRITER, counter),), siblings),))


def written_by(site: Site, name: str = "x") -> int:
    held = site.held_here(name)
    return 0 if held is None else counter_of(held.context, WRITER)


def test_a_writer_that_others_have_overtaken_is_heard_again() -> None:
    network, writer, reader, _ = three()
    reader.hear(LIAR, claiming(BEGIN + 1_000))
    token = network.write(writer, X, wait=WAIT_ALL)
    network.deliver_all()
    assert reader.values("x") == [], "it takes the write for superseded"
    network.run(20.0)
    assert [site.values("x") for site in network.sites] == [[b"1"]] * 3
    assert written_by(writer) > BEGIN + 1_000
    assert token in writer.answers
    network.write(writer, change("x", b"2"), wait=WAIT_ALL)
    network.deliver_all()
    assert reader.values("x") == [b"2"], "at once from here on"


def test_a_write_in_the_name_of_another_is_undone() -> None:
    network, writer, reader, _ = three()
    network.write(writer, X, change("gone", b"1"))
    network.write(writer, change("gone", None))
    network.deliver_all()
    for name in ("x", "gone", "new"):
        forged = Sibling(WRITER, BEGIN + 9, EVIL, b"forged")
        reader.hear(LIAR, claiming(BEGIN + 9, forged, name=name))
        assert reader.values(name) == [b"forged"]
    network.run(20.0)
    for site in network.sites:
        assert site.values("x") == [b"1"]
        assert [value for name in ("gone", "new") for value in site.values(name) if value] == []


@pytest.mark.parametrize("kind", ["answer", "done"])
def test_who_was_told_that_it_knows_all_does_not_take_for_deleted_what_it_lacks(kind: str) -> None:
    network, writer, reader, liar = three()
    network.write(writer, X)
    network.lose_all()
    known: Vector = ((WRITER, BEGIN + 50),)
    if kind == "done":
        liar.core.compare_with(READER, network.now)
        liar.settle()
        network.deliver()
        asked = next(m for _, target, m in reversed(network.sent) if isinstance(m, TreeAnswer))
        network.lose_all()
        reader.hear(LIAR, TreeDone(asked.number, known, (), asked.clock))
    else:
        reader.core.compare_with(LIAR, network.now)
        reader.settle()
        network.lose_all()
        number = reader.core._anti_entropy._exchange.number  # type: ignore[union-attr]
        whole = TreeAnswer(number, 1, (), (), (), True, False, known, 0, (), 1)
        reader.hear(LIAR, whole)
    assert reader.core._marks.known[WRITER] == BEGIN + 50
    network.run(20.0)
    assert [site.values("x") for site in network.sites] == [[b"1"]] * 3


def test_what_claims_a_write_never_made_is_judged_once_the_writer_has_gone_beyond() -> None:
    network, writer, _, _ = three()
    network.write(writer, X)
    network.deliver_all()
    network.sent.clear()
    push = replace(claiming(BEGIN + 7), number=5)
    writer.hear(LIAR, push)
    assert network.sent == [], "neither taken nor refused"
    assert writer.values("x") == [b"1"]
    assert written_by(writer) == BEGIN + 8
    writer.hear(LIAR, push)
    assert [type(message).__name__ for _, _, message in network.sent] == ["VariableAck"]
    assert writer.values("x") == [b"1"]


def test_nobody_believes_so_much_that_its_writer_could_not_go_beyond() -> None:
    network, writer, reader, _ = three()
    network.write(writer, X)
    network.deliver_all()
    near, far = BEGIN + 1 + AHEAD_MAX, BEGIN + 2 + AHEAD_MAX
    for site in (writer, reader):
        before = site.held_here("x")
        for counter in (far, 2 * BEGIN - 1):
            site.hear(LIAR, claiming(counter))
        assert site.held_here("x") == before
        assert {drop.source for drop in site.drops} == {LIAR}
    reader.hear(LIAR, claiming(near))
    assert written_by(reader) == near
    reader.hear(LIAR, claiming(far))
    assert written_by(reader) == near, "step by step nobody comes further"


def test_a_writer_is_believed_of_itself_however_much_it_has_written() -> None:
    network, writer, reader, other = three()
    writer.core._marks.wrote(BEGIN + 3 * AHEAD_MAX)
    network.write(writer, X)
    push = pushes(network)[-1]
    network.lose_all()
    reader.hear(LIAR, push)
    assert reader.values("x") == [], "not from another one yet"
    reader.hear(WRITER, push)
    assert reader.values("x") == [b"1"]
    reader.hear(LIAR, claiming(BEGIN + 4 * AHEAD_MAX))
    assert written_by(reader) == BEGIN + 4 * AHEAD_MAX
    # Who is gone cannot tell: what is known of it is taken from anybody.
    network.tell(other, tuple(m for m in network.members() if m.peer != WRITER))
    other.hear(READER, push)
    assert other.values("x") == [b"1"]


def test_what_a_writer_told_in_an_earlier_life_is_forgotten_when_it_is_gone() -> None:
    network, writer, reader, _ = three()
    writer.core._marks.wrote(BEGIN + 3 * AHEAD_MAX)
    network.write(writer, X)
    network.deliver_all()
    assert WRITER in reader.core._intake._told
    network.tell(reader, tuple(m for m in network.members() if m.peer != WRITER))
    assert WRITER not in reader.core._intake._told


def test_who_has_no_numbers_left_goes_on_with_what_it_has() -> None:
    network, writer, _, _ = three()
    network.write(writer, X)
    network.deliver_all()
    last = writer.core._staging._counter_max
    writer.core._marks.wrote(last - 10)
    writer.hear(LIAR, claiming(last))
    assert (writer.values("x"), writer.core._marks.counter) == ([b"1"], last - 10)
    writer.hear(LIAR, claiming(last - 1))
    assert (writer.values("x"), writer.core._marks.counter) == ([b"1"], last)


def test_values_that_one_peer_has_written_beside_each_other_stay_beside_each_other() -> None:
    network, writer, _, _ = three()
    network.write(writer, X)
    network.write(writer, replace(change("x", b"2"), context=()))
    network.deliver_all()
    clocks = [sibling.clock for sibling in writer.core.read("x")[0].siblings]
    writer.hear(LIAR, claiming(BEGIN + 7))
    siblings = writer.core.read("x")[0].siblings
    assert [s.counter for s in siblings] == [BEGIN + 8, BEGIN + 9]
    assert [s.clock for s in siblings] == clocks
    network.run(20.0)
    assert [site.values("x") for site in network.sites] == [[b"1", b"2"]] * 3


def test_a_writer_that_starts_again_counts_on_from_its_new_epoch() -> None:
    network, writer, reader, _ = three()
    network.write(writer, X)
    writer.hear(LIAR, claiming(BEGIN + 7))
    network.run(5.0)
    network.crash(writer)
    network.write(writer, change("x", b"2"))
    network.run(5.0)
    assert written_by(writer) == 2 * BEGIN + 1
    assert reader.values("x") == [b"2"]


def test_peers_without_a_liar_write_nothing_again() -> None:
    network = Network(3, seed=5)
    network.run(5.0)
    for number in range(30):
        network.write(network.sites[number % 3], change("x", b"%d" % number))
        network.run(0.3)
    assert [site.core._marks.counter - BEGIN for site in network.sites] == [10] * 3
    assert [drop for site in network.sites for drop in site.drops] == []
