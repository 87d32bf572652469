"""docs/migrating.md: every recipe is typed in, in the order of the page."""

import os
import re

import pytest

from recipes import perform, recipes
from support import ROOT, docker

PAGE = (ROOT / "docs/migrating.md").read_text()
RECIPES = recipes(PAGE)
STUB = 'FROM debian:bookworm-slim\nCMD ["sleep", "infinity"]\n'

# Stubs for command-line tools of services for which the tests have no account: they check the
# file that the real tool would send. The stub of sudo is for machines without it.
TOOLS = {
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "railway": """#!/bin/sh
[ "$1" = up ] && python3 -m json.tool railway.json >/dev/null && echo 'railway.json is valid'
""",
    "aws": """#!/bin/sh
[ "$1 $2 $3" = 'ecs register-task-definition --cli-input-json' ] &&
    python3 -m json.tool "${4#file://}" >/dev/null && echo "${4##*/} is valid"
""",
    "gcloud": """#!/bin/sh
[ "$1 $2 $3" = 'run services replace' ] &&
    "$TEST_PYTHON" -c 'import sys, yaml; assert yaml.safe_load(open(sys.argv[1]))["kind"] == "Service"' "$4" &&
    echo "${4##*/} is valid"
""",
}


@pytest.fixture(scope="module")
def shell(project, image, tmp_path_factory):
    """A folder with the project, the neighbours it may have, and the tools above."""
    import sys
    tools = tmp_path_factory.mktemp("bin")
    for name, script in TOOLS.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    for name in ("auth-server", "ai-agent", "mcp-server"):
        folder = project.folder.parent / name
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(STUB)
    project.remove()
    yield project.folder, {**project.environment, "TEST_PYTHON": sys.executable,
                           "PATH": f"{tools}:{os.environ['PATH']}"}
    project.remove()
    docker("volume", "rm", "-f", "todo-data", check=False)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: re.sub(r"\W+", "-", recipe.title.lower()))
def test_recipe(recipe, shell):
    folder, environment = shell
    if recipe.title == "Build":
        # The builder that has compiled all of it before; the other one has its own test.
        environment = {**environment, "DOCKER_BUILDKIT": "0"}
    perform(recipe, folder, environment)


def test_the_page_has_every_recipe():
    titles = {recipe.title for recipe in RECIPES}
    assert titles >= {
        "Start", "Start in the background", "Logs", "Hot reload", "Migrate", "Create a migration",
        "Revert a migration", "Show DATABASE_URL", "Test the connection", "Tests in the container",
        "Stop", "Build", "Generate the secrets", "Run with .env", "Container health",
        "Health logs", "Metrics", "Run with -e", "Workers", "Pool tuning", "Permissions",
        "Auth server", "AI agent", "Render", "Railway", "ECS", "Cloud Run",
    }
    for recipe in RECIPES:
        section = PAGE.split(f"### {recipe.title}\n")[1].split("\n### ")[0]
        assert "```text\n" in section, f"{recipe.title}: what it was before is missing"
