"""What a seed draws."""

from itertools import islice

from tools.chaos.script import Fault, Target, disturbances, draw


def test_one_seed_draws_the_same_each_time_and_another_does_not():
    assert draw(7, 20) == draw(7, 20)
    assert draw(7, 20) != draw(8, 20)
    assert list(islice(disturbances(7), 20)) == list(islice(disturbances(7), 20))


def test_a_run_is_drawn_alike_however_many_there_are():
    assert draw(7, 100)[:5] == draw(7, 5)


def test_everything_is_drawn_in_a_hundred_runs():
    scripts = draw(18, 100)

    assert {script.fault for script in scripts} == set(Fault)
    assert {script.at for script in scripts} == {-1, 0, 1}
    assert {disturbance.target for disturbance in islice(disturbances(18), 100)} == set(Target)


def test_what_one_command_submits_trains_the_same():
    assert len({(script.team, script.algorithms) for script in draw(18, 16)}) == 2
