"""What the server counts, for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from tcd_hf.index.ingest import AddReport
    from tcd_hf.index.stored_index import StoredIndex

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

QUERIES = ("search", "moments")
OUTCOMES = ("added", "replaced", "unchanged", "skipped")  # of files, as in an [`AddReport`]
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # that a query takes


class Metrics:
    """Counters of one server. What is asked for, and by whom, is in none of them.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): whose videos are counted when the counters are asked for.

    Attributes:
        query_seconds (`Histogram`): seconds of each query, those in which it waited for its turn included, by `kind`.
        errors (`Counter`): what the server could not do, by `kind`: a query, or adding. What is refused is no error.
        files (`Counter`): what became of files that were to be added through the page, by `outcome`.
    """

    def __init__(self, index: "StoredIndex"):
        self._registry = CollectorRegistry()
        options: Any = {"namespace": "tcd_hf", "registry": self._registry}
        self.query_seconds = Histogram(
            "query_seconds", "Seconds that queries took, with their wait", ["kind"], buckets=SECONDS, **options
        )
        self.errors = Counter("errors", "What the server could not do", ["kind"], **options)
        self.files = Counter("files", "Files that were to be added through the page", ["outcome"], **options)
        for kind in QUERIES:  # from 0 on, not from the first time on
            self.query_seconds.labels(kind)
        for kind in (*QUERIES, "add"):
            self.errors.labels(kind)
        for outcome in OUTCOMES:
            self.files.labels(outcome)
        self._registry.register(_IndexCounts(index))

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Counts a query, however it ends."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.query_seconds.labels(kind).observe(time.perf_counter() - begin)

    def count_files(self, report: "AddReport") -> None:
        """Counts what became of files."""
        for outcome in OUTCOMES:
            self.files.labels(outcome).inc(len(getattr(report, outcome)))

    def render(self) -> bytes:
        """All of it in Prometheus' text form, whose media type is `CONTENT_TYPE_LATEST`."""
        return generate_latest(self._registry)


class _IndexCounts(Collector):
    """What the index holds, counted anew when it has changed."""

    def __init__(self, index: "StoredIndex"):
        self._index = index
        self._counted: tuple[int, int, float] | None = None  # version, videos, seconds

    def describe(self) -> list[GaugeMetricFamily]:
        return [self._gauge("videos", "Videos of the index"), self._gauge("video_seconds", "Seconds of video in it")]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            version = self._index.version
            if self._counted is None or self._counted[0] != version:
                stats = self._index.stats()
                self._counted = version, stats.videos, stats.seconds_of_video
        except (OSError, ValueError):  # an index that cannot be read is told by /healthz
            return
        for gauge, value in zip(self.describe(), self._counted[1:], strict=True):
            gauge.add_metric([], value)
            yield gauge

    @staticmethod
    def _gauge(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"tcd_hf_index_{name}", text)
