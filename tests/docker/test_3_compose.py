"""docker-compose.yml: development with hot reload, on both engines, with both Composes."""

import time

import pytest

from support import FACTS, Api, docker, new_secrets, run, until

CONTAINER = "todo-backend-api"


@pytest.fixture(scope="module")
def api():
    return Api("127.0.0.1", 8000, "")


@pytest.fixture(scope="module", autouse=True)
def stack(project, api):
    """docker-compose up --build, without an .env."""
    began = time.monotonic()
    project.compose("build", timeout=3600)
    FACTS["compose: build of the development image"] = f"{time.monotonic() - began:.0f} s"
    began = time.monotonic()
    project.compose("up", "-d")
    try:
        api.wait(seconds=420)
    except AssertionError:
        print(docker("logs", "--tail", "40", CONTAINER, check=False))
        raise
    FACTS["compose: from up to the first 200, target volume new"] = f"{time.monotonic() - began:.0f} s"
    yield
    print(docker("logs", "--tail", "40", CONTAINER, check=False))
    project.compose("--profile", "postgres", "down")


def todoctl(project, *arguments, **options):
    return project.compose("exec", "-T", "backend", "todoctl", *arguments, **options)


def word_of_live(api):
    try:
        status, body = api.call("GET", "/health/live", timeout=2)
    except OSError:
        return None
    return body["status"] if status == 200 else None


def test_an_edited_handler_answers(project, api):
    source = project.folder / "src/api/health.rs"
    text = source.read_text()
    taken = []
    for before, after in (("alive", "lively"), ("lively", "alive")):
        text = text.replace(f'StatusCode::OK, "{before}"', f'StatusCode::OK, "{after}"')
        began = time.monotonic()
        source.write_text(text)
        until(f"the edited handler says {after}", lambda: word_of_live(api) == after, 90, 0.1)
        taken.append(time.monotonic() - began)
    FACTS["compose: from an edit to its answer"] = " and ".join(f"{s:.1f} s" for s in taken)
    # 10 s where nothing else runs, and several times that beside other work.
    assert min(taken) < 40, taken


def test_a_build_that_fails_leaves_the_daemon_running(project, api):
    source = project.folder / "src/api/health.rs"
    text = source.read_text()
    source.write_text(text + "\nthis does not compile\n")
    try:
        until("the compiler complains",
              lambda: "error" in docker("logs", "--since", "20s", CONTAINER), 60)
        assert word_of_live(api) == "alive"
    finally:
        source.write_text(text)
    time.sleep(1)
    until("the daemon answers", lambda: word_of_live(api) == "alive", 60)


def test_todoctl_is_at_hand(project, api):
    assert todoctl(project, "--version").startswith("todoctl ")
    assert "applied" in todoctl(project, "migrate", "status")
    todoctl(project, "db", "check")
    assert "reverted" in todoctl(project, "migrate", "down", "--yes")
    assert "pending" in todoctl(project, "migrate", "status", check=False)
    assert "applied" in todoctl(project, "migrate", "up")
    todoctl(project, "health")


def test_configuration(project):
    def inspect(template):
        return docker("inspect", "-f", template, CONTAINER)
    assert inspect("{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped"
    assert inspect("{{(index (index .HostConfig.PortBindings \"8000/tcp\") 0).HostPort}}") == "8000"
    mounted = inspect("{{range .Mounts}}{{.Destination}} {{end}}").split()
    assert sorted(mounted) == ["/app", "/data", "/target", "/usr/local/cargo/registry"]


def test_profile_postgres_and_the_mounted_env_file(project, api):
    """The .env is read by todoctl; serve waits for the server, which starts at the same time."""
    values = new_secrets()
    lines = [f"{name}={value}" for name, value in values.items()]
    lines.append("DATABASE_URL=postgresql://todo:todo@postgres:5432/todo?sslmode=disable")
    (project.folder / ".env").write_text("\n".join(lines) + "\n")
    try:
        project.compose("down")
        project.compose("--profile", "postgres", "up", "-d")
        api.wait(seconds=120)
        assert "PostgreSQL" in todoctl(project, "db", "check", "--verbose")
        real = Api("127.0.0.1", 8000, values["SERVICE_AUTH_TOKEN"])
        real.create("on PostgreSQL, in development")
        environment = docker("inspect", "-f", "{{.Config.Env}}", CONTAINER)
        assert values["SERVICE_AUTH_TOKEN"] not in environment, "read from the file, not passed"
    finally:
        (project.folder / ".env").unlink()
        project.compose("--profile", "postgres", "down")


def test_compose_v2_runs_the_same_file(project, api):
    if run("docker", "compose", "version", check=False).returncode != 0:
        pytest.skip("no Compose v2 here")
    project.compose_v2("up", "-d", "--no-build")
    try:
        api.wait(seconds=120)
        assert "applied" in project.compose_v2("exec", "-T", "backend", "todoctl", "migrate", "status")
    finally:
        project.compose_v2("down")
