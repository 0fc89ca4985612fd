"""Serves a student until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

from runtime.errors import InputError, MissingDependencyError
from runtime.monitoring.monitor import Monitor
from runtime.prediction.student import Student
from runtime.serving.limits import Limits

INSTALL = "pip install 'edge-compressor[serve]'"
_STOPPING_S = 10
"""How long requests may take to end after the server was told to stop."""


def require_packages() -> None:
    """Refuse to begin without the packages of the extra.

    Raises:
        MissingDependencyError: with the command that installs them.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed: {INSTALL}") from error


def serve(
    student: Student,
    host: str,
    port: int,
    limits: Limits,
    *,
    monitor: Monitor | None = None,
    ready: Callable[[str], None],
) -> None:
    """Answer requests until the process is interrupted or told to stop.

    Args:
        student: as `runtime.load` opened it.
        host: the address to listen at: `127.0.0.1` for this machine alone, `0.0.0.0` for all.
        port: 0 takes a free one.
        limits: what is taken at most.
        monitor: follows the answers.
        ready: is called with the address once it answers there.

    Raises:
        InputError: this address cannot be listened at.
        MissingDependencyError: the extra `serve` is not installed.
        KeyboardInterrupt: it was interrupted; requests that were taken have been answered.
    """
    require_packages()
    import uvicorn

    from runtime.serving.app import application

    listening = _listen(host, port)
    address = f"http://{'[' + host + ']' if ':' in host else host}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        application(student, limits, monitor),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOPPING_S,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(address)

    Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as on_error:
            listening = on_error.enter_context(socket.socket(family, kind, number))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            on_error.pop_all()
    except (OSError, UnicodeError) as error:  # a host that is no name at all
        why = error.strerror if isinstance(error, OSError) else "this is no name of a host"
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {why}. Take another port, or "
            "--port 0 for a free one."
        ) from error
    return listening
