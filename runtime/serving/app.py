"""The HTTP interface: POST /predict with an image, GET /health, GET /metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from runtime.errors import InputError
from runtime.monitoring import prometheus
from runtime.monitoring.monitor import Monitor
from runtime.prediction.many import each_answer
from runtime.prediction.prediction import Prediction
from runtime.prediction.student import Student
from runtime.serving.batching import Batcher
from runtime.serving.limits import Counts, Limits

logger = logging.getLogger(__name__)

_FORM = "multipart/form-data"
_CLIENT_GONE = 499
"""As nginx counts it; nobody receives it."""


class _RefusedError(Exception):
    """A request is not answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Service:
    """A student, its limits and what it has done: one for each application."""

    def __init__(self, student: Student, limits: Limits, monitor: Monitor | None) -> None:
        """Keep them; nothing runs yet."""
        self.student, self.limits, self.counts = student, limits, Counts()
        self.monitor = monitor
        self._one = anyio.CapacityLimiter(1)
        self._following = 0
        self.batcher = Batcher(
            lambda pixels: each_answer(student, pixels),
            limits.batch,
            limits.wait_ms / 1000,
            on_their_way=lambda: self.counts.now,
        )

    async def predict(self, request: Request) -> Response:
        """Answer one image, whose bytes are the body of the request."""
        started = time.monotonic()
        if self.counts.now >= self.limits.requests:
            return self._refused(503, f"{self.limits.requests} requests are waiting; try again")
        self.counts.now += 1
        try:
            body = await self._body(request)
            prediction = await self._prediction(body)
        except _RefusedError as error:
            return self._refused(error.status, str(error))
        except ClientDisconnect:
            self.counts.done(_CLIENT_GONE)
            return Response(status_code=400)
        except Exception:
            logger.exception("a bug in edge-compressor: a request was not answered")
            return self._refused(500, "a bug in edge-compressor; the server's log has more")
        finally:
            self.counts.now -= 1
        self.counts.done(200)
        self.counts.seconds += time.monotonic() - started
        after = None if self.monitor is None else BackgroundTask(self._follow, prediction, [body])
        return JSONResponse(prediction.to_dict(), background=after)

    async def health(self, request: Request) -> Response:
        """Say that it answers, with which file, and what it has done."""
        counts = self.counts
        return JSONResponse(
            {
                "status": "ok",
                "bundle": self.student.bundle.document.name,
                "file": self.student.file,
                "classes": len(self.student.classes),
                "waiting": counts.now,
                "answered": counts.by_status.get(200, 0),
                "refused": sum(n for status, n in counts.by_status.items() if status != 200),
                "batches": self.batcher.batches,
                "largest_batch": self.batcher.largest,
                **({} if self.monitor is None else {"monitor": self.monitor.figures()}),
            }
        )

    async def metrics(self, request: Request) -> Response:
        """Give the counts in Prometheus' text format."""
        counts, metric = self.counts, prometheus.metric
        statuses = {str(status): number for status, number in counts.by_status.items()}
        text = (
            metric("requests_total", "counter", "Requests by HTTP status.", statuses, "status")
            + metric("waiting", "gauge", "Requests that are being answered.", {"": counts.now})
            + metric("seconds_total", "counter", "Time of all answers.", {"": counts.seconds})
            + metric("batches_total", "counter", "Network calls.", {"": self.batcher.batches})
            + (self.monitor.prometheus() if self.monitor is not None else "")
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def _follow(self, prediction: Prediction, bodies: list[bytes]) -> None:
        """Let the monitor see an answer, one after the other; it never costs an answer.

        Args:
            prediction: the answer.
            bodies: its image; it is let go, and not kept, if too many wait for a slow disk.
        """
        if self._following >= self.limits.requests:
            bodies.clear()
        self._following += 1
        try:
            async with self._one:
                if self.monitor is None:
                    return
                image = bodies[0] if bodies else None
                alarms = await run_in_threadpool(self.monitor.see, prediction, image)
        except (OSError, InputError) as error:
            logger.error("the monitor has stopped: %s", error)
            self.monitor = None
            return
        finally:
            self._following -= 1
        for alarm in alarms:
            logger.warning("%s", alarm.text)

    async def _prediction(self, body: bytes) -> Prediction:
        try:
            pixels = await run_in_threadpool(self.student.pixels, body)
        except InputError as error:
            raise _RefusedError(400, str(error).removeprefix("image 0: ")) from error
        try:
            return await self.batcher.answer(pixels)
        except InputError as error:
            logger.error("%s", error)
            raise _RefusedError(500, "the student's answer cannot be used; see the log") from error

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-type", "").startswith(_FORM):
            raise _RefusedError(415, "send the image itself as the body: curl --data-binary @a.jpg")
        limit = self.limits.body_bytes
        large = f"more than {self.limits.body_mb:g} MB"
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > limit:
            raise _RefusedError(413, large)
        body = bytearray()
        try:
            with anyio.fail_after(self.limits.body_s):
                async for part in request.stream():
                    body += part
                    if len(body) > limit:
                        raise _RefusedError(413, large)
        except TimeoutError as error:
            why = f"the image did not arrive within {self.limits.body_s:g} s"
            raise _RefusedError(408, why) from error
        return bytes(body)

    def _refused(self, status: int, why: str) -> Response:
        self.counts.done(status)
        headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
            headers["Connection"] = "close"  # the rest of the body is not read
        return JSONResponse({"error": why}, status, headers)


def application(student: Student, limits: Limits, monitor: Monitor | None = None) -> Starlette:
    """Return the ASGI application of a student.

    Args:
        student: as `runtime.load` opened it.
        limits: what is taken at most.
        monitor: follows the answers.
    """
    service = Service(student, limits, monitor)

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with service.batcher.running():
            yield

    routes = [
        Route("/predict", service.predict, methods=["POST"]),
        Route("/health", service.health),
        Route("/metrics", service.metrics),
    ]
    return Starlette(routes=routes, lifespan=running)
