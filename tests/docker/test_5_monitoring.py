"""Prometheus and Grafana: rules that promtool agrees with, and queries that find data."""

import datetime
import json
import math
import time
import urllib.parse
import urllib.request

import pytest
import yaml

from support import ROOT, FACTS, Api, Container, Load, docker, new_secrets, until

FOLDER = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/todoctl.json").read_text())


def panels():
    for panel in DASHBOARD["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel


def queries():
    for panel in panels():
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


def promtool(image, *arguments):
    return docker("run", "--rm", "-v", f"{FOLDER}:/rules:ro", "-w", "/rules", "--entrypoint",
                  "promtool", image, *arguments)


def test_promtool_agrees_with_the_configuration(prometheus_image):
    assert "SUCCESS" in promtool(prometheus_image, "check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool(prometheus_image, "test", "rules", "rules_test.yml")


def test_every_alert_has_a_unit_test_and_says_what_to_do():
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    tested = (FOLDER / "rules_test.yml").read_text()
    for alert in alerts:
        assert f"alertname: {alert['alert']}\n" in tested, alert["alert"]
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"] and alert["annotations"]["action"]


def test_the_scraped_job_is_the_compose_service():
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "todo-backend"
    assert job["static_configs"] == [{"targets": ["backend:8000"]}]


def test_grafana_is_provisioned_with_what_is_there():
    folder = ROOT / "deploy/grafana/provisioning"
    source = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    for panel in panels():
        assert panel["datasource"]["uid"] == source["uid"]
        assert all(target["datasource"]["uid"] == source["uid"] for target in panel["targets"])
    provider = yaml.safe_load((folder / "dashboards/todoctl.yml").read_text())["providers"][0]
    stack = yaml.safe_load((ROOT / "docker-compose.fullstack.yml").read_text())
    mounts = stack["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


class Prometheus:
    """A Prometheus server, asked over its API."""

    def __init__(self, container):
        self.container = container

    def query(self, expression):
        """The values of an instant query."""
        form = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self.container.ip}:9090/api/v1/query?{form}", timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return [float(one["value"][1]) for one in result]


@pytest.fixture(scope="module")
def prometheus(image, prometheus_image, network, postgres, tmp_path_factory):
    """One that scraped a daemon under load for a while, with the shipped rules."""
    values = new_secrets()
    postgres.psql("postgres", "CREATE DATABASE monitored")
    environment = {
        **values, "DATABASE_URL": postgres.url("monitored"), "ENVIRONMENT": "production",
        # Mails wait: nobody has an address, and nothing listens there.
        "RESEND_API_KEY": "re_not_a_key", "EMAIL_FROM": "Todo <todo@example.com>",
        "RESEND_API_URL": "http://127.0.0.1:9",
    }
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "prometheus.yml").chmod(0o644)
    daemon = Container(image, env=environment, network=network, options=["--network-alias", "backend"])
    server = Container(prometheus_image, network=network, options=[
        "-v", f"{folder / 'prometheus.yml'}:/etc/prometheus/prometheus.yml:ro"])
    try:
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        status, _ = api.call("POST", "/tasks/", {"title": "due", "due_date": soon.isoformat()})
        assert status == 201
        # Reminders are made at the start.
        docker("restart", daemon.name)
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        one = Prometheus(server)
        until("Prometheus answers", lambda: answers(one), 30)
        with Load(api, clients=4):
            deadline = time.monotonic() + 20
            task = api.create("read again and again")
            stranger = Api(api.host, api.port, "not-a-token")
            while time.monotonic() < deadline:
                assert api.call("GET", "/tasks/?limit=20")[0] == 200
                assert api.call("GET", f"/tasks/{task}")[0] == 200
                assert api.call("PATCH", f"/tasks/{task}", {"completed": True})[0] == 200
                assert stranger.call("GET", "/tasks/")[0] == 401
                assert api.status("/health/ready") == 200
                time.sleep(0.2)
        yield one
    finally:
        server.remove()
        daemon.remove()


def answers(prometheus):
    try:
        return prometheus.query("up") == [1.0]
    except OSError:
        return False


@pytest.mark.parametrize("expression", queries())
def test_every_query_of_the_dashboard_finds_data(prometheus, expression):
    expression = expression.replace("$__rate_interval", "15s") \
        .replace("$__range", "1m").replace("$instance", ".*")
    assert "$" not in expression, "a variable that the test does not know"
    found = prometheus.query(expression)
    assert any(not math.isnan(value) for value in found), found
    FACTS["monitoring: dashboard queries that found data"] = str(sum(1 for _ in queries()))


def test_the_shipped_rules_load_and_are_quiet_about_a_healthy_daemon(prometheus):
    assert prometheus.query("todo:requests:rate5m")[0] > 0
    assert prometheus.query("todo:error_ratio:rate5m") == [0.0]
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
