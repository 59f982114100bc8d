"""What a failover trial counts, and what it must not count."""

import asyncio

import pytest

from raycons.bench.failover import Recovery, Writer
from raycons.errors import ClusterError, Unavailable


class FaultAt:
    """A fault that takes time to take effect."""

    def __init__(self, clock: "Clock", takes: float) -> None:
        self._clock = clock
        self._takes = takes

    async def inject(self) -> None:
        self._clock.now += self._takes

    async def lift(self) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_to_a_write_from_before_the_fault_does_not_end_the_trial() -> None:
    async def trial() -> float:
        clock = Clock()
        recovery = Recovery(clock)
        waiting = asyncio.create_task(recovery.after(FaultAt(clock, 0.002)))
        await asyncio.sleep(0)
        clock.now = 10.5
        recovery.acknowledged(9.0)  # issued before the fault
        recovery.acknowledged(10.001)  # issued while the fault was being injected
        await asyncio.sleep(0)
        assert not waiting.done()
        clock.now = 10.75
        recovery.acknowledged(10.002)  # issued once it was injected
        clock.now = 99.0
        recovery.acknowledged(10.003)  # only the first counts
        return await waiting

    assert asyncio.run(trial()) == pytest.approx(0.75)


def test_service_that_does_not_come_back_is_an_error() -> None:
    recovery = Recovery()
    with pytest.raises(ClusterError, match=r"no write was acknowledged within 0.01 s"):
        asyncio.run(recovery.after(FaultAt(Clock(), 0.0), timeout_s=0.01))


def test_the_writer_never_waits_for_an_answer() -> None:
    async def run() -> tuple[int, int]:
        recovery = Recovery()
        never = asyncio.get_running_loop().create_future()
        enough = asyncio.Event()

        async def write(number: int) -> None:
            if number == 10:
                enough.set()
            if number % 2:
                raise Unavailable("no leader")
            await never

        writer = Writer(write, recovery)
        task = asyncio.create_task(writer.run())
        async with asyncio.timeout(10.0):
            await enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return writer.issued, writer.failed

    issued, failed = asyncio.run(run())
    assert issued >= 10
    assert failed >= 5
