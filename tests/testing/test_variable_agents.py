"""What a simulated writer makes of the fates that it is told."""

import pytest

from mabeam_p2p.requests import Acknowledged
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.variable_agents import VariableAgent
from mabeam_p2p.testing.violation import Violation
from mabeam_p2p.testing.weather import fair


def test_a_member_has_one_fate_and_a_name_one_for_each_peer_that_had_it() -> None:
    """Who has lost its folder is another member under the same name; the former one is missing."""
    trial = Trial(1, fair(3))
    first, second, _ = trial.simulator.hosts
    writer = VariableAgent(trial.workload, first)
    twice = Acknowledged((), (), (), ("peer-b", "peer-b", "peer-c"), (), True)
    with pytest.raises(Violation, match="two fates"):
        writer._told(twice, 0)
    trial.simulator.wipe(second)
    writer._told(twice, 0)
    with pytest.raises(Violation, match="two fates"):
        writer._told(Acknowledged((), (), (), ("peer-b",) * 3, (), True), 0)


def test_where_one_lies_about_names_two_members_may_have_the_same() -> None:
    trial = Trial(1, fair(3))
    first, _, liar = trial.simulator.hosts
    writer = VariableAgent(trial.workload, first)
    named = Acknowledged((), (), (), ("overloaded", "overloaded", "peer-c"), (), True)
    with pytest.raises(Violation, match="two fates"):
        writer._told(named, 0)
    trial.simulator.checkers.liars.append(liar.peer)
    writer._told(named, 0)
    with pytest.raises(Violation, match="is told"):
        writer._told(named, 1)
