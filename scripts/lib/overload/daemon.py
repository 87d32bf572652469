"""A daemon on a database of its own, and requests to it."""

import contextlib
import os
import resource
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import urlsafe_b64encode
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent.parent
TOKEN = secrets.token_hex(24)


def _build() -> str:
    if path := os.environ.get("TODOCTL"):
        return str(Path(path).resolve())
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=SCRIPTS.parent, check=True)
    target = subprocess.run([SCRIPTS / "lib/target-dir"], capture_output=True, text=True, check=True)
    return f"{target.stdout.strip()}/release/todoctl"


_built = ""


def binary() -> str:
    """The program to measure, built at the first call."""
    global _built
    _built = _built or _build()
    return _built


def psql(url: str, *statements: str) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    program = str(found[-1]) if found else "psql"
    commands = [part for statement in statements for part in ("-c", statement)]
    subprocess.run([program, "-qX", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", url, *commands], check=True)


class Daemon:
    """A daemon on a database of its own."""

    def __init__(self, engine: str, files: int = 4096, stderr=subprocess.DEVNULL, **settings: str):
        self.engine = engine
        self.home = Path(tempfile.mkdtemp(prefix="todoctl-overload."))
        self.database = None
        self.file = self.home / "todo.db"
        self.url = f"sqlite://{self.file}"
        if engine == "postgres":
            server = os.environ["TODOCTL_TEST_POSTGRES_URL"]
            self.database = f"todoctl_overload_{secrets.token_hex(4)}"
            psql(server, f"CREATE DATABASE {self.database} TEMPLATE template0 ENCODING 'UTF8'")
            self.url = f"{server.rsplit('/', 1)[0]}/{self.database}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "ENVIRONMENT": "production",
            "DATABASE_URL": self.url,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
            "SERVICE_AUTH_TOKEN": TOKEN,
            "SESSION_HASH_SECRET": secrets.token_hex(24),
            "ENCRYPTION_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        } | settings
        self.process = subprocess.Popen(
            [binary(), "serve"],
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
        for _ in range(600):
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health").status == 200:
                    return
            time.sleep(0.05)
        sys.exit("overload: the daemon does not become healthy")

    def execute(self, postgres: str, sqlite: str) -> None:
        if self.engine == "postgres":
            psql(self.url, postgres)
        else:
            with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
                connection.execute(sqlite)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self.database:
            server = os.environ["TODOCTL_TEST_POSTGRES_URL"]
            psql(server, f"DROP DATABASE {self.database} WITH (FORCE)")
        shutil.rmtree(self.home)

    def memory(self) -> int:
        """The most memory that it has had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024


def request(method: str, path: str, body: bytes = b"", user: str = "alice", token: str = TOKEN) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"X-User-ID: {user}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
