"""What `python -m runtime serve` answers under load, beside the same images without a server.

    python benchmarks/serving.py BUNDLE --out FOLDER [--seconds 5] [--clients 1 --clients 8 ...]

For each number of clients, servers with batches of 1 and of 8 are asked in turns, each client one
image after the other over a connection of its own. The clients run on the same machine and take
their share of it. `no server` is `Student.predict` of the same files, one at a time. A last row
asks with five hundred clients at once. Prints a table, writes FOLDER/serving.json.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins

import runtime
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.text import table

BATCHES = (1, 8)
CROWD = 500


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", default=5.0, show_default=True, help="for each cell")
@click.option("--clients", multiple=True, type=int, default=(1, 8, 32), show_default=True)
def main(bundle: Path, out: Path, seconds: float, clients: tuple[int, ...]) -> None:
    """Measure, print, write."""
    images = [path.read_bytes() for path in sorted((bundle / "golden" / "images").iterdir())]
    cells = [alone(bundle, images, seconds)]
    servers = {batch: Server(bundle, batch) for batch in BATCHES}
    try:
        for count in clients:
            for batch, server in servers.items():
                times, statuses = asyncio.run(load(server.port, images, count, seconds))
                cells.append(cell(f"batch {batch}", count, times, statuses))
        times, statuses = asyncio.run(load(servers[8].port, images, CROWD, seconds))
        cells.append(cell("batch 8", CROWD, times, statuses))
    finally:
        for server in servers.values():
            server.process.kill()
            server.process.wait()
    click.echo(table(list(cells[0]), [[_shown(value) for value in row.values()] for row in cells]))
    document = {"machine": to_builtins(describe()), "seconds": seconds, "cells": cells}
    out.mkdir(parents=True, exist_ok=True)
    (out / "serving.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'serving.json'}")


class Server:
    """A server of its own process, on one thread of the network."""

    def __init__(self, bundle: Path, batch: int) -> None:
        """Start it; it answers when this returns."""
        words = [sys.executable, "-m", "runtime", "serve", str(bundle), "--port", "0"]
        self.process = subprocess.Popen(
            [*words, "--batch", str(batch)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        while "http://" not in (line := self.process.stderr.readline()):
            if not line:
                raise click.ClickException("the server ended")
        self.port = int(line.split("http://")[1].split(" ")[0].rsplit(":", 1)[1])


def alone(bundle: Path, images: list[bytes], seconds: float) -> dict[str, Any]:
    """The same images, one at a time, without a server."""
    student, times = runtime.load(bundle), []
    student.predict(images[0])
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        student.predict(images[len(times) % len(images)])
        times.append(time.perf_counter() - started)
    return cell("no server", 1, times, Counter({200: len(times)}))


async def load(
    port: int, images: list[bytes], clients: int, seconds: float
) -> tuple[list[float], Counter[int]]:
    """Ask from many clients for some time; the seconds of each answer, and all statuses."""
    times: list[float] = []
    statuses: Counter[int] = Counter()
    ends = time.perf_counter() + seconds

    async def client(at: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < ends:
            body = images[at % len(images)]
            at += 1
            started = time.perf_counter()
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answered = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(answered.split("content-length: ")[1].split("\r\n")[0])
            await reader.readexactly(length)
            status = int(answered.split(" ")[1])
            statuses[status] += 1
            if status == 200:
                times.append(time.perf_counter() - started)
            else:
                await asyncio.sleep(1)  # as Retry-After asks
        writer.close()

    await asyncio.gather(*(client(at) for at in range(clients)))
    return times, statuses


def cell(what: str, clients: int, times: list[float], statuses: Counter[int]) -> dict[str, Any]:
    """A row of the table."""
    found = np.array(times or [float("nan")]) * 1e3
    return {
        "server": what,
        "clients": clients,
        "images": len(times),
        "median ms": float(np.median(found)),
        "p95 ms": float(np.percentile(found, 95)),
        "refused (503)": statuses[503],
        "other": sum(number for status, number in statuses.items() if status not in (200, 503)),
    }


def _shown(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    guarded(main)
