"""The script and the disturbances that a seed draws."""

from collections import Counter
from itertools import islice

import pytest

from tools.chaos import queues, quota
from tools.chaos.schedule import LANES, LONG, Target, disturbances, targets
from tools.chaos.script import PAUSING, SURVIVED, Fault, draw, make_up


def test_a_seed_always_draws_the_same_script():
    assert draw(7, 20) == draw(7, 20)
    assert draw(7, 20) != draw(8, 20)
    assert list(islice(disturbances(7, "node"), 20)) == list(islice(disturbances(7, "node"), 20))


def test_the_script_of_a_run_does_not_depend_on_the_number_of_runs():
    assert draw(7, 100)[:5] == draw(7, 5)


@pytest.mark.parametrize("seed", [18, 9107])
def test_a_hundred_runs_contain_every_fault_often_enough(seed: int):
    blows = [blow for script in draw(seed, 100) for blow in script.blows]
    counted = Counter(blow.fault for blow in blows)

    assert quota.missing_faults(counted, quota.default(100)) == []
    assert {blow.at for blow in blows} == {-1, 0, 1}


def test_some_runs_have_two_faults():
    pairs = [script.blows for script in draw(18, 100) if len(script.blows) == 2]

    assert len(pairs) > 10
    assert {first.fault for first, _ in pairs} <= set(SURVIVED)
    assert not {second.fault for _, second in pairs} & set(PAUSING)


def test_every_disturbance_is_in_one_lane_and_comes_in_each_deck():
    assert sorted(targets(kueue=True)) == sorted(Target)
    assert set(Target) - set(targets(kueue=False)) == {*LANES["Kueue"], Target.PREEMPTED}
    for lane, mine in LANES.items():
        drawn = [disturbance.target for disturbance in islice(disturbances(18, lane), 2 * len(mine))]
        assert set(drawn[: len(mine)]) == set(drawn[len(mine) :]) == set(mine)


@pytest.mark.parametrize("lane", LONG)
def test_each_lane_has_one_long_absence(lane: str):
    long = [disturbance for disturbance in islice(disturbances(18, lane), 100) if disturbance.away >= 30 and disturbance.away != 50]

    assert [disturbance.target for disturbance in long] == [LONG[lane][0]]
    assert long[0].away <= 300


def test_the_runs_of_one_command_have_the_same_algorithms():
    assert len({(script.team, script.algorithms) for script in draw(18, 16)}) == 2


def test_every_second_batch_is_urgent():
    scripts = [*draw(18, 17), *make_up(18, 0, [None]), *make_up(18, 1, [None])]
    priorities = {script.team: queues.priority_of(script.team) for script in scripts}

    assert priorities == {
        "team-0": "ordinary", "team-1": "urgent", "team-2": "ordinary", "more-0": "ordinary", "more-1": "urgent",
    }  # fmt: skip


def test_missing_faults_get_further_runs():
    scripts = make_up(18, 0, [Fault.EVICTED, None])

    assert [[blow.fault for blow in script.blows] for script in scripts] == [[Fault.EVICTED], []]
    assert [script.team for number in range(2) for script in make_up(18, number, [None] * 3, batches=2)] == [
        "more-0", "more-0", "more-1", "more-2", "more-2", "more-3",
    ]  # fmt: skip
    labels = [script.label for number in range(3) for script in make_up(18, number, [None, None])]
    assert len({*labels, *(script.label for script in draw(18, 100))}) == 106
