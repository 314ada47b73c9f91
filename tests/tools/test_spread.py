"""What the measurement of spreading and comparing measures."""

from tools.spread import figure, find, spread


def test_a_tree_spares_the_writer_and_sends_as_many_messages_as_direct_pushes() -> None:
    direct, tree = spread(24, 0), spread(24, 4)
    assert direct.messages == direct.at_writer == 2 * 23
    assert tree.messages == 2 * 23
    assert tree.at_writer == 2 * 4
    assert tree.all_have < tree.all_told


def test_a_comparison_grows_with_what_differs_and_not_with_what_is_held() -> None:
    none, one, many = (find(2_000, differences) for differences in (0, 1, 50))
    assert none.messages == 2
    assert none.bytes < one.bytes < many.bytes < 2_000 * 25
    assert find(200, 1).bytes * 3 > one.bytes


def test_the_figure_shows_each_way_at_each_size() -> None:
    rows = [(count, kind, spread(count, fan)) for count in (4, 8) for kind, fan in (("a", 0),)]
    drawn = figure(rows)
    assert drawn.startswith("<svg")
    assert drawn.count("<polyline") == 1
    assert drawn.count(f"{rows[0][2].all_told:.1f}") >= 1
