"""Opens /docs of a live daemon in a real browser, authorises with a token, and tries
create and list. Fails on another answer than 201 and 200, on any word of the browser's
console that is an error, and on any request that would leave this machine.

usage: browser-test.py CHROMIUM URL SCREENSHOT    (the token comes on standard input)
"""

import json
import sys
import tempfile
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect, sync_playwright

# Nothing of its own accord: no updates, no telemetry, no first-run pages.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

TITLE = "Seen by a browser"


def authorise(page: Page, token: str) -> None:
    page.locator(".auth-wrapper button.authorize").first.click()
    dialog = page.locator(".dialog-ux .modal-ux")
    scheme = dialog.locator(".auth-container").filter(has_text="bearer (http, Bearer)")
    scheme.locator("input").fill(token)
    scheme.locator("button[type=submit]").click()
    expect(scheme.locator("button", has_text="Logout")).to_be_visible()
    dialog.locator(".close-modal").click()
    expect(dialog).to_be_hidden()


def try_out(page: Page, operation: str, body: str | None, status: int) -> dict:
    """Runs an operation as it stands on the page; what the daemon answered."""
    block = page.locator(f"#operations-tasks-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if body is not None:
        block.locator("textarea.body-param__text").fill(body)
    path = "/tasks/"
    with page.expect_response(lambda answer: urlsplit(answer.url).path == path) as answered:
        block.get_by_role("button", name="Execute").click()
    answer = answered.value
    assert answer.status == status, f"{operation}: {answer.status} {answer.text()}"
    live = block.locator(".live-responses-table .response-col_status").last
    expect(live).to_contain_text(str(status))
    return answer.json()


def main() -> None:
    chromium, url, screenshot = sys.argv[1:]
    token = sys.stdin.readline().strip()
    home = urlsplit(url).netloc
    complaints: list[str] = []

    def guard(route) -> None:
        if urlsplit(route.request.url).netloc == home:
            route.continue_()
        else:
            complaints.append(f"a request left the machine: {route.request.url}")
            route.abort()

    with tempfile.TemporaryDirectory(prefix="todoctl-browser-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=FLAGS, viewport={"width": 1280, "height": 1600}
        )
        context.set_default_timeout(30_000)
        context.route("**/*", guard)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and complaints.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(f"page: {error}"))
        page.on("requestfailed", lambda failed: complaints.append(f"failed: {failed.url} {failed.failure}"))
        try:
            page.goto(f"{url}/docs")
            expect(page.locator(".swagger-ui .info .title")).to_contain_text("todoctl")
            authorise(page, token)
            created = try_out(page, "create_task", json.dumps({"title": TITLE}), 201)
            assert created["title"] == TITLE, created
            listed = try_out(page, "list_tasks", None, 200)
            assert [task["id"] for task in listed["tasks"]] == [created["id"]], listed
        finally:
            page.screenshot(path=screenshot, full_page=True)
            context.close()
    assert not complaints, "\n".join(complaints)
    print(f"browser: created task {created['id']} and listed it; {screenshot}")


if __name__ == "__main__":
    main()
