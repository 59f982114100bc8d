"""Message-sequence charts: who sent what to whom, and what became of it, as text and as SVG."""

from raycons.charts.chart import Chart
from raycons.charts.events import Event, Kind, ordered

__all__ = ["Chart", "Event", "Kind", "ordered"]
