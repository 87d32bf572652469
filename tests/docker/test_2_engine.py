"""The daemon on an engine: databases that go, stops, kills, replicas, failed starts."""

import secrets
import time

import pytest

from conftest import Postgres
from support import FACTS, Container, Load, container, docker, new_secrets, until


@pytest.fixture
def values():
    return new_secrets()


def production(values, url, **more):
    return {**values, "DATABASE_URL": url, "ENVIRONMENT": "production", **more}


def test_unhealthy_while_the_database_is_gone(image, network, values):
    server = Postgres(network)
    try:
        server.psql("postgres", "CREATE DATABASE todo")
        environment = production(values, server.url("todo"))
        options = ["--health-interval", "1s", "--health-retries", "2"]
        with container(image, env=environment, network=network, options=options) as daemon:
            daemon.wait_health("healthy")
            docker("stop", "-t", "5", server.name)
            gone = time.monotonic()
            daemon.wait_health("unhealthy")
            FACTS["daemon: unhealthy after its database went"] = f"{time.monotonic() - gone:.1f} s"
            assert daemon.api().status("/health") == 503
            assert daemon.api().status("/health/ready") == 503
            assert daemon.api().status("/health/live") == 200, "nothing to restart it for"

            docker("start", server.name)
            back = time.monotonic()
            daemon.wait_health("healthy")
            FACTS["daemon: healthy after its database came back"] = f"{time.monotonic() - back:.1f} s"
            api = daemon.api(values["SERVICE_AUTH_TOKEN"])
            api.create("after the return")
            assert daemon.inspect("{{.RestartCount}}") == "0"
    finally:
        server.container.remove()


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_stop_under_load_fails_no_accepted_request(image, network, values, database, volume, engine):
    url = database if engine == "postgresql" else "sqlite:///data/todo.db"
    arguments = {"env": production(values, url), "network": network,
                 "options": ["-v", f"{volume}:/data"]}
    token = values["SERVICE_AUTH_TOKEN"]
    with container(image, **arguments) as daemon:
        api = daemon.api(token)
        api.wait()
        with Load(api) as load:
            until("load", lambda: len(load.acknowledged) > 300, 60)
            began = time.monotonic()
            docker("stop", daemon.name)
            FACTS[f"daemon: docker stop under load, {engine}"] = f"{time.monotonic() - began:.1f} s"
        assert daemon.exit_code() == 0, "ended by itself, not killed"
        assert "stopped" in daemon.logs()
    assert not load.refused, load.refused[:5]
    assert not load.broken, load.broken[:5]
    assert not load.dropped, load.dropped[:5]
    with container(image, **arguments) as daemon:
        api = daemon.api(token)
        api.wait()
        stored = api.titles()
    assert sorted(stored) == sorted(load.acknowledged), "done is answered, answered is done"


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_kill_loses_nothing_acknowledged(image, network, values, database, volume, engine):
    url = database if engine == "postgresql" else "sqlite:///data/todo.db"
    environment, options = production(values, url), ["-v", f"{volume}:/data"]
    with container(image, env=environment, network=network, options=options) as daemon:
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        with Load(api) as load:
            until("load", lambda: len(load.acknowledged) > 300, 60)
            docker("kill", daemon.name)
        docker("start", daemon.name)
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        stored = set(api.titles())
    lost = set(load.acknowledged) - stored
    assert not lost, f"{len(lost)} of {len(load.acknowledged)}: {sorted(lost)[:5]}"


def test_two_replicas_migrate_an_empty_database_once(image, network, values, database, postgres):
    environment = production(values, database)
    replicas = [Container(image, env=environment, network=network) for _ in range(2)]
    try:
        for one in replicas:
            one.api().wait()
        logs = [one.logs() for one in replicas]
        name = database.rsplit("/", 1)[1].split("?")[0]
        applied = postgres.psql(name, "SELECT version FROM _sqlx_migrations ORDER BY 1").split()
        assert applied
        migrated = sum(log.count('"message":"applied migration"') for log in logs)
        assert migrated == len(applied), f"{migrated} migrations logged, {applied} applied"
        token = values["SERVICE_AUTH_TOKEN"]
        replicas[0].api(token).create("by one")
        assert replicas[1].api(token).titles() == ["by one"]
    finally:
        for one in replicas:
            one.remove()


def test_a_failed_migration_ends_the_container_and_says_why(image, network, values, database, postgres):
    name = database.rsplit("/", 1)[1].split("?")[0]
    postgres.psql(name, "CREATE TABLE tasks (something_else integer)")
    with container(image, env=production(values, database), network=network) as daemon:
        assert daemon.exit_code(60) == 2
        log = daemon.logs()
        assert "a wanted table exists and is something else" in log, log
        assert "tasks" in log
    assert postgres.psql(name, "SELECT count(*) FROM tasks") == "0", "left alone"


def test_waits_for_a_database_that_starts_later(image, network, values):
    """As in a compose file without depends_on: a stopped container has no name, so it is restarted."""
    server = Postgres(network)
    try:
        server.psql("postgres", "CREATE DATABASE todo")
        docker("stop", "-t", "5", server.name)
        environment = production(values, server.url("todo"))
        options = ["--restart", "on-failure:9"]
        with container(image, env=environment, network=network, options=options) as daemon:
            time.sleep(2)
            docker("start", server.name)
            daemon.api().wait(seconds=60)
    finally:
        server.container.remove()


def test_a_wrong_password_ends_the_start_at_once(image, network, values, database):
    wrong = database.replace("@", secrets.token_hex(4) + "@", 1)
    with container(image, env=production(values, wrong), network=network) as daemon:
        assert daemon.exit_code(30) == 2
        assert "password" in daemon.logs().lower()


def test_secrets_from_files(image, network, values, database, tmp_path):
    """NAME_FILE, as Docker and Kubernetes mount secrets."""
    options, environment = [], {"DATABASE_URL": database, "ENVIRONMENT": "production"}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
        (tmp_path / name).chmod(0o644)
        options += ["-v", f"{tmp_path / name}:/run/secrets/{name}:ro"]
        environment[f"{name}_FILE"] = f"/run/secrets/{name}"
    with container(image, env=environment, network=network, options=options) as daemon:
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        api.create("with secrets from files")


