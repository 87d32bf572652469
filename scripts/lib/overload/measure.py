"""What probes and ordinary clients notice of an overload, and what it leaves behind."""

import asyncio
import contextlib
import multiprocessing
import socket
import time
from dataclasses import dataclass, field

from .daemon import Daemon, request

PROBES = ("/health/live", "/metrics")

# Ordinary clients come from an address of their own: the limits are for each.
ORDINARY = "127.0.0.2"
ORDINARY_CLIENTS = 4

# It is calm when no more connections than this are open: the one that asks, and those of the
# ordinary clients that were measured.
CALM_CONNECTIONS = ORDINARY_CLIENTS + 2
LONGEST_CALM = 30


def percentile(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def exchange(port: int, text: bytes, source: str = "127.0.0.1") -> tuple[float, int]:
    """A request on a connection of its own: milliseconds, and the status or 0."""
    started = time.monotonic()
    status = 0
    with contextlib.suppress(OSError, ValueError):
        address = ("127.0.0.1", port)
        with socket.create_connection(address, timeout=10, source_address=(source, 0)) as connection:
            connection.sendall(text)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        status = int(b"".join(parts)[9:12])
    return (time.monotonic() - started) * 1000, status


def closing(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def probe(port: int, seconds: float, results) -> None:
    end = time.monotonic() + seconds
    taken = {path: [] for path in PROBES}
    failed = 0
    while time.monotonic() < end:
        for path in PROBES:
            milliseconds, status = exchange(port, closing(path))
            taken[path].append(milliseconds)
            failed += status != 200
        time.sleep(0.01)
    results.put((taken, failed))


def ordinary(port: int, text: bytes, seconds: float, results) -> None:
    """The answers to an ordinary client, by status."""
    text = text.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    end = time.monotonic() + seconds
    by_status: dict[int, list[float]] = {}
    while time.monotonic() < end:
        milliseconds, status = exchange(port, text, ORDINARY)
        by_status.setdefault(status, []).append(milliseconds)
        time.sleep(0.01)
    results.put(by_status)


def seconds_to_calm(port: int) -> float:
    """How long the daemon takes to get rid of connections and requests."""
    started = time.monotonic()
    while time.monotonic() - started < LONGEST_CALM:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(closing("/metrics"))
                text = b""
                while part := connection.recv(65536):
                    text += part
            value = lambda name: float(text.split(f"\n{name} ".encode())[1].split(b"\n")[0])
            if value("http_requests_in_flight") <= 1 and value("http_connections") <= CALM_CONNECTIONS:
                return time.monotonic() - started
        time.sleep(0.02)
    return float("inf")


@dataclass
class Targets:
    probe_ms: float = 100
    memory_mib: int = 200
    calm_seconds: float = 5


@dataclass
class Result:
    name: str
    probes: int
    probes_failed: int
    probe_ms: dict[str, dict[str, float]]
    accepted: int
    shed: int
    unanswered: int
    accepted_p50_ms: float
    accepted_p99_ms: float
    memory_mib: int
    calm_seconds: float
    missed: list[str] = field(default_factory=list)

    def check(self, targets: Targets) -> None:
        slowest = max(one["p99"] for one in self.probe_ms.values())
        for is_missed, what in (
            (self.probes_failed > 0, "a probe failed"),
            (slowest > targets.probe_ms, f"probes' p99 above {targets.probe_ms:.0f} ms"),
            (self.memory_mib > targets.memory_mib, f"memory above {targets.memory_mib} MiB"),
            (self.calm_seconds > targets.calm_seconds, f"not calm within {targets.calm_seconds:.0f} s"),
        ):
            if is_missed:
                self.missed.append(what)


async def measured(name: str, daemon: Daemon, load, seconds: float, targets: Targets) -> Result:
    """Measures from a second after the load began."""
    running_load = asyncio.ensure_future(load)
    await asyncio.sleep(1)
    results: multiprocessing.Queue = multiprocessing.Queue()
    answers: multiprocessing.Queue = multiprocessing.Queue()
    text = request("GET", "/tasks/?limit=20", user="bob")
    processes = [multiprocessing.Process(target=probe, args=(daemon.port, seconds, results))]
    processes += [
        multiprocessing.Process(target=ordinary, args=(daemon.port, text, seconds, answers))
        for _ in range(ORDINARY_CLIENTS)
    ]
    for process in processes:
        process.start()
    taken, failed = await asyncio.to_thread(results.get)
    by_status: dict[int, list[float]] = {}
    for _ in range(ORDINARY_CLIENTS):
        for status, times in (await asyncio.to_thread(answers.get)).items():
            by_status.setdefault(status, []).extend(times)
    for process in processes:
        process.join()
    running_load.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running_load
    calm = await asyncio.to_thread(seconds_to_calm, daemon.port)
    accepted = by_status.pop(200, [])
    unanswered = len(by_status.pop(0, []))
    result = Result(
        name=name,
        probes=len(taken[PROBES[0]]),
        probes_failed=failed,
        probe_ms={
            path: {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "max": max(times)}
            for path, times in taken.items()
        },
        accepted=len(accepted),
        shed=sum(len(times) for times in by_status.values()),
        unanswered=unanswered,
        accepted_p50_ms=percentile(accepted, 0.5),
        accepted_p99_ms=percentile(accepted, 0.99),
        memory_mib=daemon.memory(),
        calm_seconds=calm,
    )
    result.check(targets)
    return result


async def sustainable_rate(daemon: Daemon, text: bytes, seconds: float) -> float:
    """The requests per second of two clients, each of which waits for its answers."""

    def client(results) -> None:
        end = time.monotonic() + seconds
        count = 0
        while time.monotonic() < end:
            _, status = exchange(daemon.port, text)
            count += status == 200
        results.put(count)

    results: multiprocessing.Queue = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=client, args=(results,)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = [await asyncio.to_thread(results.get) for _ in processes]
    for process in processes:
        process.join()
    return max(sum(counts) / seconds, 1.0)
