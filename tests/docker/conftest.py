"""Fixtures, and what is printed about a failure and at the end."""

import os
import secrets
import shutil
import time

import pytest

import support
from support import IMAGE, LABEL, ROOT, Container, docker, run, until

# In the build context of the tests, where a careless hand might leave it.
CANARY = "canary-" + secrets.token_hex(16)
CANARY_FILES = [
    ".env", "data/secrets/SERVICE_AUTH_TOKEN", "deploy/notes.env", "id_ed25519", "src/.env",
    "src/api/.env.local", "src/server.pem", "src/todo.db", "src/id_rsa", "migrations/.pgpass",
    "migrations/postgres/dump.sql.bak", "secrets/JWT_SECRET", "target/release/todoctl.d",
]


# What the compose file and the recipes call their containers.
FIXED_NAMES = ["todo-backend-api", "todo-backend"]


class Project:
    """A folder with compose files in it, and the commands of a developer."""

    environment = {"COMPOSE_PROJECT_NAME": LABEL, "DOCKER_BUILDKIT": "0",
                   "COMPOSE_DOCKER_CLI_BUILD": "0",
                   # A new volume is a copy of what the image has there: the compiled dependencies.
                   "COMPOSE_HTTP_TIMEOUT": "300"}

    def __init__(self, folder):
        self.folder = folder

    def run(self, *command, **options):
        environment = {**self.environment, **options.pop("env", {})}
        return run(*command, cwd=self.folder, env=environment, **options)

    def compose(self, *arguments, **options):
        """Compose 1.29, which Debian has."""
        return self.run("docker-compose", *arguments, **options).stdout

    def compose_v2(self, *arguments, **options):
        return self.run("docker", "compose", *arguments, **options).stdout

    def remove(self, compiled=False):
        """Removes the containers and their data; what cargo has compiled only when told."""
        for name in FIXED_NAMES:
            docker("rm", "-f", "-v", name, check=False)
        secrets_given = dict.fromkeys(support.new_secrets(), "unused")
        self.compose("-f", "docker-compose.fullstack.yml", "--profile", "all", "down", "-v",
                     "--remove-orphans", check=False, env=secrets_given)
        self.compose("--profile", "postgres", "down", "--remove-orphans", check=False)
        volumes = ["todo-data", "todo-postgres"]
        if compiled:
            volumes += ["cargo-target", "cargo-registry"]
        docker("volume", "rm", "-f", *(f"{LABEL}_{name}" for name in volumes), check=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The logs of the containers that live while a test fails."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for one in support.LIVE:
            report.sections.append((f"log of {one.name}", one.logs(60)))


def pytest_terminal_summary(terminalreporter):
    if support.FACTS:
        terminalreporter.section("measured")
        for name, value in support.FACTS.items():
            terminalreporter.write_line(f"{name:<48} {value}")


@pytest.fixture(scope="session", autouse=True)
def clean_engine():
    """Nothing of an earlier, killed run is in the way; nothing of this one is left."""
    def remove():
        for kind, delete in (("container", ["rm", "-f", "-v"]), ("network", ["network", "rm"]),
                             ("volume", ["volume", "rm"])):
            listed = [kind, "ls", "-q", "--filter", f"label={LABEL}"]
            if kind == "container":
                listed.insert(2, "-a")
            found = docker(*listed).split()
            if found:
                docker(*delete, *found, check=False)
    remove()
    yield
    remove()


@pytest.fixture(scope="session")
def commit():
    """The commit that a build is told; any will do outside a clone."""
    done = run("git", "rev-parse", "HEAD", check=False)
    return done.stdout.strip() if done.returncode == 0 else "0123456789abcdef0123456789abcdef01234567"


def copy_project(folder):
    """The project as a clone has it, the files' dates included: they are new."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", check=False)
    if listed.returncode != 0:
        shutil.copytree(ROOT, folder, dirs_exist_ok=True,
                        copy_function=shutil.copy,
                        ignore=shutil.ignore_patterns("target", "data", ".env"))
        return
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """A build context with secrets lying about in it."""
    folder = tmp_path_factory.mktemp("context")
    copy_project(folder)
    for name in CANARY_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CANARY + "\n")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder to work in as a developer does: compose runs there."""
    for name in FIXED_NAMES:
        found = run("docker", "container", "inspect", name, check=False)
        assert found.returncode != 0, f"a container named {name} is in the way: docker rm -f {name}"
    folder = tmp_path_factory.mktemp("clone") / "todo-backend"
    folder.mkdir()
    copy_project(folder)
    yield Project(folder)
    Project(folder).remove(compiled=os.environ.get("TODOCTL_DOCKER_KEEP") != "1")


@pytest.fixture(scope="session")
def image(context):
    """The image as the README builds it, by the classic builder, with a secret in the
    builder's environment.

    TODOCTL_IMAGE names one that is there already, for a quick look at the rest.
    """
    if "TODOCTL_IMAGE" in os.environ:
        docker("tag", os.environ["TODOCTL_IMAGE"], IMAGE)
        return IMAGE
    began = time.monotonic()
    docker("build", "-t", IMAGE, context, timeout=3600, env={"DOCKER_BUILDKIT": "0", "TODOCTL_CANARY": CANARY, "JWT_SECRET": CANARY})
    support.FACTS["image: build"] = f"{time.monotonic() - began:.0f} s (cached layers included)"
    size = int(docker("image", "inspect", "-f", "{{.Size}}", IMAGE))
    support.FACTS["image: size"] = f"{size / 1e6:.1f} MB"
    return IMAGE


@pytest.fixture(scope="session")
def network():
    name = f"{LABEL}-{secrets.token_hex(4)}"
    docker("network", "create", "--label", f"{LABEL}=1", name)
    yield name
    docker("network", "rm", name, check=False)


class Postgres:
    """A PostgreSQL server in a container."""

    def __init__(self, network):
        self.password = secrets.token_hex(12)
        self.name = f"{LABEL}-postgres-{secrets.token_hex(3)}"
        self.container = Container(
            os.environ.get("POSTGRES_IMAGE", "postgres:17-bookworm"), network=network,
            name=self.name, env={"POSTGRES_PASSWORD": self.password},
        )
        until("PostgreSQL answers", self.answers, 90)

    def answers(self):
        done = run("docker", "exec", self.name, "pg_isready", "-q", "-h", "127.0.0.1", check=False)
        return done.returncode == 0

    def url(self, database):
        return f"postgresql://postgres:{self.password}@{self.name}:5432/{database}?sslmode=disable"

    def psql(self, database, statement):
        """What a statement answers, a line a row."""
        return docker("exec", "-e", f"PGPASSWORD={self.password}", self.name, "psql", "-qAtX",
                      "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", "127.0.0.1",
                      "-d", database, "-c", statement)


@pytest.fixture(scope="session")
def postgres(network):
    server = Postgres(network)
    yield server
    server.container.remove()


@pytest.fixture
def database(postgres):
    """The URL of a new, empty database."""
    name = "t" + secrets.token_hex(4)
    postgres.psql("postgres", f"CREATE DATABASE {name}")
    return postgres.url(name)


@pytest.fixture(scope="session")
def prometheus_image():
    """Debian's Prometheus, with promtool."""
    docker("build", "-t", "todo-prometheus", ROOT / "deploy/prometheus", env={"DOCKER_BUILDKIT": "0"})
    return "todo-prometheus"


@pytest.fixture
def volume():
    name = docker("volume", "create", "--label", "todoctl-test=1")
    yield name
    docker("volume", "rm", "-f", name, check=False)
