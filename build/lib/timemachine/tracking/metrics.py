"""Figures of the model server for Prometheus."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Each path is a time series of its own, and clients choose paths; others are counted together.
_PATHS = ("/", "/docs", "/health", "/invocations", "/metrics", "/ping", "/stream", "/version")


class Metrics:
    """Counters of one server.

    Args:
        served: what is served; its texts are the labels of `timemachine_model_info`.
    """

    def __init__(self, served: Mapping[str, Any]) -> None:
        disable_created_metrics()  # the time of each first request is of no use
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        info = Info("timemachine_model", "The served version.", registry=self._registry)
        info.info({key: value for key, value in served.items() if isinstance(value, str)})
        scores = Gauge(
            "timemachine_model_score", "A score of the served version.", ["name"], registry=self._registry
        )
        for name, value in served.items():
            if isinstance(value, float):
                scores.labels(name).set(value)
        self._requests = Counter(
            "timemachine_requests", "Answered requests.", ["path", "status"], registry=self._registry
        )
        self._errors = Counter(
            "timemachine_errors",
            "Requests that were refused (status 4xx), failed (5xx), or whose client left before the end.",
            ["path", "kind"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "timemachine_request_seconds",
            "Seconds from the request to the end of the answer.",
            ["path"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "timemachine_requests_in_flight", "Requests that are being answered.", registry=self._registry
        )
        self.characters = Counter(
            "timemachine_characters", "Generated characters (of a model of words: words).", registry=self._registry
        )

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def measured(self, app: "ASGIApp") -> "ASGIApp":
        """Return an ASGI application that counts the requests to `app`."""

        async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            path = scope["path"] if scope["path"] in _PATHS else "other"
            status, ended = 500, False

            async def noted(message: "Message") -> None:
                nonlocal status, ended
                await send(message)
                if message["type"] == "http.response.start":
                    status = message["status"]
                elif message["type"] == "http.response.body":
                    ended = not message.get("more_body", False)

            begin_s = time.perf_counter()
            with self._in_flight.track_inprogress():
                try:
                    await app(scope, receive, noted)
                except Exception:
                    self._errors.labels(path, "failed").inc()
                    raise
                else:
                    if status >= 400:
                        self._errors.labels(path, "refused" if status < 500 else "failed").inc()
                    elif not ended:
                        self._errors.labels(path, "left").inc()
                finally:
                    self._requests.labels(path, str(status)).inc()
                    self._seconds.labels(path).observe(time.perf_counter() - begin_s)

        return answer
