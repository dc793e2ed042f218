"""The script that a seed draws."""

from itertools import islice

from tools.chaos.script import Fault, Target, disturbances, draw


def test_a_seed_always_draws_the_same_script():
    assert draw(7, 20) == draw(7, 20)
    assert draw(7, 20) != draw(8, 20)
    assert list(islice(disturbances(7), 20)) == list(islice(disturbances(7), 20))


def test_the_script_of_a_run_does_not_depend_on_the_number_of_runs():
    assert draw(7, 100)[:5] == draw(7, 5)


def test_a_hundred_runs_contain_every_fault_point_and_disturbance():
    scripts = draw(18, 100)

    assert {script.fault for script in scripts} == set(Fault)
    assert {script.at for script in scripts} == {-1, 0, 1}
    assert {disturbance.target for disturbance in islice(disturbances(18), 100)} == set(Target)


def test_the_runs_of_one_command_have_the_same_algorithms():
    assert len({(script.team, script.algorithms) for script in draw(18, 16)}) == 2
