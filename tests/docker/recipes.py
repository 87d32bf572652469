"""The recipes of a page: its `sh` blocks, and what the comment below each expects.

<!-- expect: REGEX -->            the block ends well, and its output has this
<!-- interrupt after: TEXT -->    it runs until its output has this; then Ctrl-C ends it
"""

import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass

BLOCK = re.compile(r"^```sh\n(?P<code>.*?)^```\n(?:<!-- (?P<what>expect|interrupt after): (?P<text>[^\n]*) -->\n)?",
                   re.M | re.S)
COLOUR = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\(B)")
HEADING = re.compile(r"^#+ (.*)$", re.M)


@dataclass
class Recipe:
    """One block of a page."""

    title: str
    code: str
    expect: str | None = None
    interrupt_after: str | None = None


def recipes(page):
    found = []
    for match in BLOCK.finditer(page):
        title = HEADING.findall(page[:match.start()])[-1]
        wanted = {"expect": match["text"]} if match["what"] == "expect" else \
            {"interrupt_after": match["text"]}
        found.append(Recipe(title, match["code"], **wanted))
    return found


def perform(recipe, folder, environment, seconds=900):
    """Types the block into a shell on a terminal; returns what the terminal shows."""
    leader, follower = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", recipe.code], cwd=folder, env={**os.environ, **environment},
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        # A shell ignores Ctrl-C for what it starts in the background, and so would the recipe.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    os.close(follower)
    shown, deadline, interrupted = "", time.monotonic() + seconds, False
    try:
        while True:
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{shown[-3000:]}"
            if select.select([leader], [], [], 0.5)[0]:
                try:
                    piece = os.read(leader, 65536)
                except OSError:      # the last writer has gone
                    piece = b""
                if not piece:
                    break
                shown += piece.decode(errors="replace")
            elif shell.poll() is not None:
                break
            if recipe.interrupt_after and not interrupted and recipe.interrupt_after in shown:
                interrupted = True
                os.killpg(shell.pid, signal.SIGINT)
        status = shell.wait(60)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        os.close(leader)
    if recipe.interrupt_after:
        assert interrupted, f"{recipe.interrupt_after!r} was never shown:\n{shown[-3000:]}"
    else:
        assert status == 0, f"exit {status}:\n{shown[-3000:]}"
    shown = COLOUR.sub("", shown)
    if recipe.expect:
        assert re.search(recipe.expect, shown, re.M), f"{recipe.expect!r} not in:\n{shown[-3000:]}"
    return shown
