"""What `GET /metrics` tells, in Prometheus' text format: counts and seconds, never anything of an image."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class ServiceMetrics:
    """The numbers of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("mirnet_requests", "Requests answered.", ["method", "route", "status"],
                                 registry=self._registry)  # fmt: skip
        self._stages = Histogram("mirnet_stage_seconds", "Seconds of a picture by stage: upload, wait, work, send.",
                                 ["stage"], buckets=SECONDS, registry=self._registry)  # fmt: skip
        self._pixels = Counter("mirnet_pixels", "Pixels of enhanced pictures.", registry=self._registry)
        ProcessCollector(registry=self._registry)  # memory, processor time, open files

    def watch(self, name: str, says: str, value: Callable[[], float]) -> None:
        """A number that is read at each scrape."""
        Gauge(f"mirnet_{name}", says, registry=self._registry).set_function(value)

    def answered(self, method: str, route: str, status: int) -> None:
        self._requests.labels(method, route, str(status)).inc()

    def stage(self, name: str, seconds: float) -> None:
        self._stages.labels(name).observe(seconds)

    def pixels(self, count: int) -> None:
        self._pixels.inc(count)

    def text(self) -> bytes:
        return generate_latest(self._registry)
