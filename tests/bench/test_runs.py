"""The arithmetic of a comparison."""

from raycons.bench.runs import Round, Spread, compare_rounds
from raycons.bench.workload import LoadReport


def report(rate: int, p50_ms: float) -> LoadReport:
    return LoadReport(rate, p50_ms, 9.0, 64, rate * 2, 2.0)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    samples = [
        Round(report(100, 1.0), report(50, 2.0)),
        Round(report(200, 1.0), report(20, 1.0)),
        Round(report(50, 2.0), report(40, 3.0)),
    ]
    compared = compare_rounds("write", samples)
    assert compared.throughput_ratio == Spread(0.5, 0.1, 0.8)
    assert compared.p50_ratio == Spread(1.5, 1.0, 2.0)
    assert compared.bound_operations_per_second == Spread(100, 50, 200)
    assert (compared.rounds, compared.clients) == (3, 64)
