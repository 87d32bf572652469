"""The hosting services: the image starts with the environment that each of their files gives."""

import json
import re
from dataclasses import dataclass, field

import pytest
import yaml

from support import ROOT, container, docker, new_secrets, run

ASKED = object()   # a value that the operator, or the service's vault, supplies


@dataclass
class Hosting:
    """What a service is told about the container."""

    environment: dict
    port: int
    probe: str
    kill_after: int
    options: list = field(default_factory=list)
    check: list = field(default_factory=lambda: ["/usr/local/bin/todoctl", "health"])


def render():
    (service,) = yaml.safe_load((ROOT / "render.yaml").read_text())["services"]
    assert service["runtime"] == "docker" and (ROOT / service["dockerfilePath"]).is_file()
    environment = {one["key"]: one.get("value", ASKED) for one in service["envVars"]}
    return Hosting(environment, int(environment["PORT"]), service["healthCheckPath"],
                   service["maxShutdownDelaySeconds"])


def railway():
    file = json.loads((ROOT / "railway.json").read_text())
    assert (ROOT / file["build"]["dockerfilePath"]).is_file()
    page = (ROOT / "docs/deploy/railway.md").read_text()
    block = re.search(r"```env\n(.*?)```", page, re.S).group(1)
    environment = dict(line.split("=", 1) for line in block.splitlines())
    environment = {name: ASKED if not value or "${{" in value else value
                   for name, value in environment.items()}
    deploy = file["deploy"]
    # Railway picks a port and says so.
    return Hosting({**environment, "PORT": "6543"}, 6543, deploy["healthcheckPath"],
                   deploy["drainingSeconds"])


def cloud_run():
    service = yaml.safe_load((ROOT / "deploy/cloud-run/service.yaml").read_text())
    (one,) = service["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value", ASKED) for item in one["env"]}
    assert "PORT" not in environment, "reserved: Cloud Run sets it"
    port = one["ports"][0]["containerPort"]
    assert one["livenessProbe"]["httpGet"] == one["startupProbe"]["httpGet"]
    return Hosting({**environment, "PORT": str(port)}, port, one["livenessProbe"]["httpGet"]["path"],
                   10, ["--memory", one["resources"]["limits"]["memory"].replace("Mi", "m")])


def ecs():
    task = json.loads((ROOT / "deploy/ecs/task-definition.json").read_text())
    (one,) = task["containerDefinitions"]
    environment = {item["name"]: item["value"] for item in one["environment"]}
    environment |= {item["name"]: ASKED for item in one["secrets"]}
    command = one["healthCheck"]["command"]
    assert command[0] == "CMD"
    options = ["--user", one["user"], "--memory", f"{task['memory']}m", "--cap-drop", "ALL"]
    if one["readonlyRootFilesystem"]:
        options.append("--read-only")
    return Hosting(environment, one["portMappings"][0]["containerPort"],
                   command[-1].split("8000", 1)[1], one["stopTimeout"], options, command[1:])


def systemd():
    unit = (ROOT / "deploy/systemd/todoctl.service").read_text()
    environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.M))
    # /etc/todoctl/env has the secrets. In a container loopback is not enough.
    environment |= {**dict.fromkeys(new_secrets(), ASKED), "HOST": "0.0.0.0"}
    return Hosting(environment, int(environment["PORT"]), "/health/live",
                   int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M).group(1)),
                   ["--tmpfs", "/var/lib/todoctl:uid=1000,mode=0700"])


SERVICES = {"render": render, "railway": railway, "cloud-run": cloud_run, "ecs": ecs, "systemd": systemd}


@pytest.mark.parametrize("service", SERVICES)
def test_starts_with_the_environment_of(service, image, network, database):
    host = SERVICES[service]()
    values = {**new_secrets(), "DATABASE_URL": database, "CORS_ORIGINS": "https://app.example.com"}
    environment = {name: values[name] if value is ASKED else value
                   for name, value in host.environment.items()}
    assert environment["ENVIRONMENT"] == "production"
    # Drained before the service kills.
    times = [int(environment.get(name, default)) for name, default in
             (("SHUTDOWN_DELAY_SECONDS", 0), ("SHUTDOWN_GRACE_SECONDS", 8))]
    assert sum(times) < host.kill_after
    # As many connections as the smallest Neon compute has, for four instances or three.
    pool = [int(environment.get(f"SQLALCHEMY_POOL_{name}", default))
            for name, default in (("SIZE", 10), ("OVERFLOW", 20))]
    assert sum(pool) * 3 <= 97

    options = ["--health-interval", "1s", *host.options]
    with container(image, env=environment, network=network, options=options) as daemon:
        api = daemon.api(environment["SERVICE_AUTH_TOKEN"], host.port)
        api.wait(host.probe)
        api.create(f"on {service}")
        daemon.exec(*host.check)
        daemon.wait_health("healthy")
        docker("stop", "-t", host.kill_after, daemon.name)
        assert daemon.exit_code() == 0


@pytest.mark.parametrize("service", SERVICES)
def test_each_has_a_page_that_answers_the_same_questions(service):
    page = (ROOT / "docs/deploy" / f"{service}.md").read_text()
    for topic in ("Port", "Probe", "Secrets", "Database", "Pool", "Stop", "Reminders"):
        assert re.search(rf"^\| {topic}", page, re.M), topic
    assert "/health/live" in page
    assert "Neon" in page


def test_liveness_never_asks_the_database():
    for service in ("render", "cloud-run", "ecs", "systemd"):
        assert SERVICES[service]().probe == "/health/live"


def test_systemd_accepts_the_units(tmp_path):
    done = run("sh", "-c", "command -v systemd-analyze", check=False)
    if done.returncode != 0:
        pytest.skip("no systemd-analyze here")
    units = sorted((ROOT / "deploy/systemd").iterdir())
    for unit in units:
        # The program need not be installed here.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/bin/todoctl", "/bin/true"))
    copies = [tmp_path / unit.name for unit in units]
    done = run("systemd-analyze", "verify", "--man=no", *copies, check=False)
    complaints = [line for line in done.stdout.splitlines() if "todoctl" in line]
    assert not complaints, done.stdout


def test_doctor_has_the_environment_of_the_daemon():
    def environment(unit):
        text = (ROOT / "deploy/systemd" / unit).read_text()
        return set(re.findall(r"^Environment(?:File)?=.*$", text, re.M))

    assert environment("todoctl-doctor.service") <= environment("todoctl.service")
