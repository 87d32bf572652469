"""Clients that overload a daemon."""

import asyncio
import contextlib
import socket
import time

from .daemon import TOKEN, Daemon


async def connect(daemon: Daemon, small: bool = False, source: str = "127.0.0.1"):
    connection = socket.socket()
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    connection.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", daemon.port))
    return connection


async def answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().split(b"content-length: ")[1].split(b"\r")[0]
    await reader.readexactly(int(length))
    return int(head[9:12])


async def repeat(daemon: Daemon, text: bytes, clients: int) -> None:
    """So many clients send a request again and again, each on a connection of its own."""

    async def client() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
                while True:
                    writer.write(text)
                    await writer.drain()
                    await answer(reader)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(client() for _ in range(clients)))


async def unread(daemon: Daemon, text: bytes, clients: int) -> None:
    """So many clients send a request and read nothing; who is disconnected comes again."""
    loop = asyncio.get_running_loop()

    async def client() -> None:
        while True:
            with contextlib.suppress(OSError), await connect(daemon, small=True) as connection:
                await loop.sock_sendall(connection, text)
                await asyncio.sleep(25)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(client() for _ in range(clients)))


async def wrk(daemon: Daemon, path: str, connections: int, seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{connections}", f"-d{int(seconds) + 5}s",
        "-H", f"Authorization: Bearer {TOKEN}", "-H", "X-User-ID: alice",
        f"http://127.0.0.1:{daemon.port}{path}",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def again(client) -> None:
    """Runs a client again and again; what breaks its connection is the daemon's answer to it."""
    while True:
        with contextlib.suppress(OSError):
            await client()
        await asyncio.sleep(0.05)


async def slow_writers(daemon: Daemon, text: bytes, begin: int, clients: int) -> None:
    """So many clients send `begin` bytes of a request at once, and one a second of the rest."""
    loop = asyncio.get_running_loop()

    async def client() -> None:
        with await connect(daemon) as connection:
            await loop.sock_sendall(connection, text[:begin])
            for byte in text[begin:]:
                await asyncio.sleep(1)
                await loop.sock_sendall(connection, bytes([byte]))

    await asyncio.gather(*(again(client) for _ in range(clients)))


async def slow_readers(daemon: Daemon, text: bytes, clients: int) -> None:
    """So many clients read one kilobyte a second of the answer."""
    loop = asyncio.get_running_loop()

    async def client() -> None:
        with await connect(daemon, small=True) as connection:
            await loop.sock_sendall(connection, text)
            while await loop.sock_recv(connection, 1024):
                await asyncio.sleep(1)

    await asyncio.gather(*(again(client) for _ in range(clients)))


async def silent(daemon: Daemon, clients: int, addresses: int) -> None:
    """So many clients at so many addresses connect and say nothing."""

    def client(source: str):
        async def say_nothing() -> None:
            with await connect(daemon, source=source) as connection:
                await asyncio.get_running_loop().sock_recv(connection, 1)

        return say_nothing

    sources = [f"127.0.1.{1 + number % addresses}" for number in range(clients)]
    await asyncio.gather(*(again(client(source)) for source in sources))


async def at_a_rate(daemon: Daemon, text: bytes, rate: float) -> None:
    """New requests at this rate, however many are unanswered."""
    pending = set()

    async def client() -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
            try:
                writer.write(text)
                await answer(reader)
            finally:
                writer.close()

    started = time.monotonic()
    sent = 0
    while True:
        while sent < (time.monotonic() - started) * rate:
            sent += 1
            task = asyncio.ensure_future(client())
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.sleep(0.01)
