"""Docker as the tests use it: the client's commands, containers, HTTP, load."""

import base64
import http.client
import json
import os
import secrets
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LABEL = "todoctl-test"
IMAGE = "todo-backend"

# Measured on the way, printed at the end.
FACTS: dict[str, str] = {}

# Containers that live now: their logs are printed when a test fails.
LIVE: list["Container"] = []


class CommandFailed(AssertionError):
    """A command that ended badly, with the end of what it said."""


def run(*command, check=True, timeout=600, env=None, cwd=ROOT, stdin=None):
    """Runs a command to its end; its stdout and stderr come as one text."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, timeout=timeout, text=True, input=stdin,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if check and done.returncode != 0:
        words = " ".join(str(part) for part in command)
        raise CommandFailed(f"exit {done.returncode}: {words}\n{done.stdout[-4000:]}")
    return done


def docker(*arguments, **options):
    """What `docker ARGUMENTS` says, without the last line break."""
    return run("docker", *arguments, **options).stdout.strip()


def until(what, condition, seconds=30, every=0.2):
    """Waits until `condition()` is true, and returns its value; fails by name when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)


def new_secrets():
    """The four secrets of a deployment, strong ones."""
    return {
        "SESSION_HASH_SECRET": secrets.token_hex(32),
        "SERVICE_AUTH_TOKEN": secrets.token_hex(32),
        "JWT_SECRET": secrets.token_hex(32),
        "ENCRYPTION_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


class Api:
    """A daemon's API, called as the trusted service for one user. A connection a call."""

    def __init__(self, host, port, token, user="docker-test", container=None):
        self.host, self.port, self.token, self.user = host, port, token, user
        self.container = container

    def call(self, method, path, body=None, timeout=25):
        """(status, body); the body is parsed if it is JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.token}", "X-User-ID": self.user,
                 "Content-Type": "application/json", "Connection": "close"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.headers.get_content_type() == "application/json" and text:
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            connection.close()

    def status(self, path="/health"):
        """The status of a GET; None without an answer."""
        try:
            return self.call("GET", path, timeout=5)[0]
        except (OSError, http.client.HTTPException):
            return None

    def wait(self, path="/health", seconds=30):
        """Waits for a 200. A container that is started again may get another address."""
        def answers():
            if self.container:
                self.host = self.container.ip
            return self.host and self.status(path) == 200
        until(f"200 from {path} on port {self.port}", answers, seconds, 0.02)

    def create(self, title):
        status, body = self.call("POST", "/tasks/", {"title": title})
        assert status == 201, (status, body)
        return body["id"]

    def titles(self):
        """The titles of all tasks of the user."""
        found, page = [], 1
        while True:
            status, body = self.call("GET", f"/tasks/?limit=1000&page={page}")
            assert status == 200, (status, body)
            found += [task["title"] for task in body["tasks"]]
            if page >= body["pages"]:
                return found
            page += 1


class Container:
    """A container that runs in the background until `remove`."""

    def __init__(self, image, *command, options=(), env=None, network=None, name=None):
        self.name = name or f"{LABEL}-{secrets.token_hex(4)}"
        arguments = ["run", "-d", "--name", self.name, "--label", f"{LABEL}=1"]
        if network:
            arguments += ["--network", network]
        for key, value in (env or {}).items():
            arguments += ["-e", f"{key}={value}"]
        docker(*arguments, *options, image, *command)
        LIVE.append(self)

    def inspect(self, template):
        return docker("inspect", "-f", template, self.name)

    @property
    def ip(self):
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def api(self, token="", port=8000):
        return Api(self.ip, port, token, container=self)

    def logs(self, tail="all"):
        return docker("logs", "--tail", tail, self.name, check=False)

    def health(self):
        return self.inspect("{{.State.Health.Status}}")

    def wait_health(self, wanted, seconds=60):
        until(f"{self.name} is {wanted}", lambda: self.health() == wanted, seconds)

    def exit_code(self, seconds=60):
        """Waits for the end."""
        until(f"{self.name} exits", lambda: self.inspect("{{.State.Status}}") == "exited", seconds)
        return int(self.inspect("{{.State.ExitCode}}"))

    def exec(self, *command, **options):
        return docker("exec", self.name, *command, **options)

    def remove(self):
        docker("rm", "-f", "-v", self.name, check=False)
        if self in LIVE:
            LIVE.remove(self)


@contextmanager
def container(*arguments, **options):
    """A container for the length of a block. It outlives a failure until its log is printed."""
    one = Container(*arguments, **options)
    try:
        yield one
    except BaseException:
        print(f"--- log of {one.name}\n{one.logs(60)}")
        raise
    finally:
        one.remove()


class Load:
    """Clients that create tasks until they are stopped.

    One half keeps its connections. When such a connection ends before an answer began, the
    client may retry (RFC 9112, 9.3.1); the store shows which requests succeeded. The other half
    opens a connection for each request: every accepted connection gets an answer.
    """

    def __init__(self, api, clients=8):
        self.api = api
        self.dropped: list[str] = []   # accepted over a new connection, and not answered
        self.acknowledged: list[str] = []
        self.refused: list[str] = []   # answered with anything but 201
        self.unanswered: list[str] = []
        self.broken: list[str] = []    # an answer that broke off
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number):
        keeps = number % 2 == 0
        connection, count, failures = None, 0, 0
        while not self._stop.is_set() and failures < 20:
            count += 1
            title = f"load {number} {count}"
            known = connection is not None
            try:
                if not known:
                    connection = http.client.HTTPConnection(self.api.host, self.api.port, timeout=20)
                    connection.connect()
            except OSError:
                connection, failures = None, failures + 1
                time.sleep(0.05)
                continue
            try:
                connection.request(
                    "POST", "/tasks/", json.dumps({"title": title}),
                    {"Authorization": f"Bearer {self.api.token}", "X-User-ID": self.api.user,
                     "Content-Type": "application/json"})
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                (self.unanswered if known else self.dropped).append(f"{title}: {error!r}")
                connection = None
                continue
            try:
                answer.read()
            except (OSError, http.client.HTTPException):
                self.broken.append(title)
                connection = None
                continue
            if answer.status == 201:
                self.acknowledged.append(title)
            else:
                self.refused.append(f"{answer.status} {title}")
            if answer.will_close or not keeps:
                connection.close()
                connection = None
