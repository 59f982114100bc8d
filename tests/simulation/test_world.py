"""Virtual time: order, determinism, and what happens to whatever breaks."""

from __future__ import annotations

import pytest

from raycons.simulation import world as world_module
from raycons.simulation.clock import Clock
from raycons.simulation.world import Violation, World


def test_events_run_in_order_of_time_then_of_scheduling() -> None:
    world, seen = World(1), []
    world.at(2.0, seen.append, "late")
    world.at(1.0, seen.append, "first of two")
    world.at(1.0, seen.append, "second of two")
    world.run(1.5)
    assert seen == ["first of two", "second of two"]
    assert world.now == 1.5
    world.run(3.0)
    assert seen[-1] == "late"
    assert world.step == 3


def test_what_is_scheduled_in_the_past_happens_now() -> None:
    world, times = World(1), []
    world.at(5.0, lambda _: world.at(1.0, lambda _: times.append(world.now)))
    world.run(6.0)
    assert times == [5.0]


def test_run_ends_early_once_finished() -> None:
    world, seen = World(1), []
    world.at(0.2, seen.append, "done")
    world.run(100.0, lambda: bool(seen))
    assert world.now < 1.0


def test_random_depends_on_seed_and_purpose_only() -> None:
    one = World(1)
    one.random("network").random()
    assert one.random("disk").random() == World(1).random("disk").random()
    assert one.random("disk").random() != one.random("network").random()
    assert one.random("disk").random() != World(2).random("disk").random()


def test_trace_tells_runs_apart() -> None:
    def trace(times: list[float]) -> int:
        world = World(1)
        for time in times:
            world.at(time, lambda _: None)
        world.run(10.0)
        return world.trace

    assert trace([1.0, 2.0]) == trace([1.0, 2.0])
    assert trace([1.0, 2.0]) != trace([1.0, 2.5])
    assert trace([1.0, 2.0]) != trace([2.0, 1.0])


def test_an_exception_is_a_violation_with_step_and_time() -> None:
    def fail(_: object) -> None:
        raise KeyError("what")

    world = World(1)
    world.at(1.0, lambda _: None)
    world.at(3.0, fail)
    with pytest.raises(Violation) as caught:
        world.run(10.0)
    assert (caught.value.invariant, caught.value.step, caught.value.time) == (
        "no-exception",
        2,
        3.0,
    )
    assert "KeyError" in caught.value.message
    assert "fail" in caught.value.message


def test_an_event_that_repeats_itself_without_time_passing_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(world_module, "EVENTS_PER_SECOND_BOUND", 50)
    world = World(1)

    def again(_: object) -> None:
        world.after(0.0, again)

    world.at(0.0, again)
    with pytest.raises(Violation, match="no-livelock"):
        world.run(1.0)


def test_the_story_keeps_the_last_things_only() -> None:
    world = World(1)
    for number in range(world_module.STORY_LENGTH + 5):
        world.tell("count", number)
    story = world.story()
    assert len(story) == world_module.STORY_LENGTH
    assert story[0].split()[-1] == "5"


def test_a_clock_drifts_and_jumps_but_never_goes_back() -> None:
    clock = Clock(offset_s=50.0, rate=1.1)
    readings = [clock.read(1.0)]
    clock.run_at(0.9, 1.0)
    readings.append(clock.read(1.0))
    assert readings[0] == pytest.approx(readings[1])
    clock.jump(2.0)
    readings.append(clock.read(1.0))
    readings.append(clock.read(2.0))
    assert readings[2] == pytest.approx(readings[1] + 2.0)
    assert readings[3] == pytest.approx(readings[2] + 0.9)
    with pytest.raises(ValueError, match="does not go back"):
        clock.jump(-1.0)


def test_a_timer_never_fires_before_its_deadline() -> None:
    clock = Clock(offset_s=123.456, rate=0.97)
    for deadline in (123.5, 124.789, 1000.1):
        assert clock.read(clock.when(deadline)) >= deadline


def test_the_story_shows_time_step_and_no_more_of_a_payload_than_fits() -> None:
    world = World(1)
    world.tell("deliver", 1, "->", 2, b"x" * 500)
    [line] = world.story()
    assert line.startswith("  0.000000  #0       deliver    1 -> 2 b'xxx")
    assert "x'" not in line and line.endswith("... (503 characters)")
    assert len(line) < 260
