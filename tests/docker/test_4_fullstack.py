"""docker-compose.fullstack.yml: what it starts, and how its services find each other."""

import json
import os
import time
import urllib.request

import pytest
import yaml

from support import FACTS, ROOT, Api, Load, docker, new_secrets, run, until

FILE = "docker-compose.fullstack.yml"
SECRETS = new_secrets()
# What the other repositories would be: a Dockerfile that shows its environment.
STUB = "FROM debian:bookworm-slim\nCMD [\"sh\", \"-c\", \"env | sort; exec sleep infinity\"]\n"
OTHERS = {"auth-server": 8080, "ai-agent": 8001, "mcp-server": None, "frontend": 3000}
TEMPLATES = ROOT / "deploy/templates"


@pytest.fixture(scope="module")
def environment(prometheus_image, project):
    (project.folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in SECRETS.items()))
    yield {"PROMETHEUS_IMAGE": prometheus_image}
    (project.folder / ".env").unlink()


@pytest.fixture(scope="module")
def stack(image, environment, project):
    """Everything but Grafana, whose image may be out of reach, without the other repositories."""
    began = time.monotonic()
    services = ["backend", "postgres", "pgbouncer", "redis", "prometheus"]
    if grafana_is_here():
        services.append("grafana")
    project.compose("-f", FILE, "up", "-d", *services, env=environment, timeout=900)
    api = Api("127.0.0.1", 8000, SECRETS["SERVICE_AUTH_TOKEN"])
    try:
        api.wait(seconds=90)
        FACTS["full stack: from up to the first 200"] = f"{time.monotonic() - began:.0f} s"
        yield api
    finally:
        print(project.compose("-f", FILE, "logs", "--tail", "40", env=environment, check=False))
        project.compose("-f", FILE, "--profile", "all", "down", "-v", env=environment)


def grafana_is_here():
    stack = yaml.safe_load((ROOT / FILE).read_text())
    image = stack["services"]["grafana"]["image"].split(":-")[1].rstrip("}")
    return run("docker", "image", "inspect", os.environ.get("GRAFANA_IMAGE", image),
               check=False).returncode == 0


def test_requests_go_through_the_pooler_and_migrations_do_not(stack, project, environment):
    stack.create("through PgBouncer")
    assert stack.titles() == ["through PgBouncer"]
    checked = project.compose("-f", FILE, "exec", "-T", "backend", "todoctl", "db", "check",
                              env=environment)
    assert "FAIL" not in checked, checked
    log = project.compose("-f", FILE, "logs", "--no-color", "backend", env=environment)
    assert "connected through a pooler in transaction mode" in log, log


def test_many_requests_through_the_pooler(stack):
    """More at once than PgBouncer has server connections."""
    with Load(stack, clients=40) as load:
        until("load", lambda: len(load.acknowledged) > 200, 60)
    assert not load.refused and not load.broken, (load.refused[:3], load.broken[:3])


def test_prometheus_scrapes_the_backend(stack):
    def scraped():
        form = "query=up%7Bjob%3D%22todo-backend%22%7D"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/query?{form}") as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return False
        return [one["value"][1] for one in result] == ["1"]
    until("Prometheus has scraped backend:8000", scraped, 60)


def test_a_daemon_of_the_stack_is_hardened(stack, project, environment):
    name = project.compose("-f", FILE, "ps", "-q", "backend", env=environment).strip()
    config = json.loads(docker("inspect", "-f", "{{json .HostConfig}}", name))
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]


def test_the_others_are_built_and_wired(stack, project, environment):
    """Each from its build context, with what the contract gives it and nothing more."""
    environment = dict(environment)
    for name in OTHERS:
        folder = project.folder.parent / name
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(STUB)
        environment[name.upper().replace("-", "_") + "_CONTEXT"] = f"../{name}"
    project.compose("-f", FILE, "--profile", "all", "up", "-d", *OTHERS, env=environment,
                    timeout=600)
    log = project.compose("-f", FILE, "logs", "--no-color", *OTHERS, env=environment)
    seen = {name: {} for name in OTHERS}
    for line in log.splitlines():
        service, _, text = line.partition("|")
        name = next((one for one in OTHERS if one in service), None)
        if name and "=" in text:
            key, value = text.strip().split("=", 1)
            seen[name][key] = value
    for name in ("ai-agent", "mcp-server"):
        assert seen[name]["SERVICE_AUTH_TOKEN"] == SECRETS["SERVICE_AUTH_TOKEN"]
    for name in OTHERS:
        assert seen[name]["BACKEND_URL"] == "http://backend:8000"
    for name in ("ai-agent", "frontend"):
        assert seen[name]["AUTH_SERVER_URL"] == "http://auth-server:8080"
    for name in ("auth-server", "ai-agent"):
        assert seen[name]["JWT_SECRET"] == SECRETS["JWT_SECRET"]
    assert "SERVICE_AUTH_TOKEN" not in seen["frontend"]
    assert "SERVICE_AUTH_TOKEN" not in seen["auth-server"]
    for name, port in OTHERS.items():
        if port:
            assert seen[name]["PORT"] == str(port)
        assert "ENCRYPTION_KEY" not in seen[name]
        assert "SESSION_HASH_SECRET" not in seen[name]
    reached = project.compose("-f", FILE, "exec", "-T", "ai-agent", "bash", "-c",
                              "exec 3<>/dev/tcp/backend/8000; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
                              env=environment)
    assert "200 OK" in reached


def test_a_context_that_nobody_named_is_asked_for(project, environment):
    done = project.run("docker-compose", "-f", FILE, "--profile", "frontend", "build", "frontend",
                       env=environment, check=False)
    assert done.returncode != 0
    assert "FRONTEND_CONTEXT" in done.stdout


def test_both_composes_read_it(project, environment):
    assert "todo-backend" in project.compose("-f", FILE, "config", env=environment)
    if run("docker", "compose", "version", check=False).returncode == 0:
        assert "todo-backend" in project.compose_v2("-f", FILE, "config", env=environment)


def test_without_secrets_it_says_how_to_make_them(project, tmp_path):
    (tmp_path / "empty").write_text("")
    done = project.run("docker-compose", "-f", FILE, "--env-file", tmp_path / "empty", "config",
                       check=False)
    assert done.returncode != 0
    assert "gen-secrets" in done.stdout


@pytest.mark.parametrize("name", OTHERS)
def test_each_has_a_dockerfile_template(name):
    lines = (TEMPLATES / f"{name}.Dockerfile").read_text().splitlines()
    assert any(line.startswith("FROM ") for line in lines)
    assert any(line.startswith("USER ") for line in lines), "not as root"
    assert any(line.startswith("CMD ") for line in lines)
    if OTHERS[name]:
        assert f"EXPOSE {OTHERS[name]}" in lines
