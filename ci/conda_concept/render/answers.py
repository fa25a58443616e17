"""The answer to a command in a comment: one for each asking comment, changed from "working" to what came of it."""

from collections.abc import Sequence

from conda_concept.conversation import Asked, marker
from conda_concept.errors import ConcError, NetworkError
from conda_concept.render.quote import code, fenced, markdown

SUPERSEDED = "⏭️ A newer commit came meanwhile: it has its own run, and its own comments."
NOTHING = "No environment is touched, so there is nothing to be done."
OURS = "⏸️ **Nothing is wrong with your change.** Something failed on our side; say it again in a while."
_MOST = 20_000


def mark(comment: int) -> str:
    """The first line of the answer to a comment."""
    return marker("answer", str(comment))


def answer(asked: Asked, home: str, words: str) -> str:
    """The whole answer: what was asked, by whom and where (a link, no mention), and `words`."""
    where = f"{home}/pull/{asked.pull}#issuecomment-{asked.comment}"
    return f"{mark(asked.comment)}\n> {code(asked.line)}, asked by [{markdown(asked.speaker)}]({where})\n\n{words}\n"


def with_result(before: str, words: str) -> str:
    """An answer of ours with these words in the place of what it has said so far; who asked for what stays."""
    head, _, _ = before.replace("\r\n", "\n").partition("\n\n")
    return f"{head}\n\n{words}\n"


def working(what: str, run_url: str) -> str:
    """What has begun."""
    run = f" ([run]({run_url}))" if run_url else ""
    return f"🛠️ {what}{run}. This answer changes when that is done."


def refused(error: ConcError) -> str:
    """Why it is not done; a failure of ours is not called a refusal."""
    if isinstance(error, NetworkError):
        return f"{OURS}\n\n{fenced(str(error)[:2000])}"
    return f"**Not done:**\n\n{fenced(str(error)[:2000])}"


def explained(package: str, text: str, sha: str) -> str:
    """Who wants a package."""
    footer = f"<sub>commit {code(sha[:12])}</sub>"
    return f"### Why {code(package)} is there\n\n{fenced(text[:_MOST])}\n\n{footer}"


def pointed(comments: Sequence[tuple[str, str]]) -> str:
    """What came of it, in the headings of the comments that say it in full: (comment of ours, its address)."""
    rows = [f"- {_heading(body)} · [all of it]({address})" for body, address in comments]
    return "\n".join(rows) or OURS


def _heading(body: str) -> str:
    """The first heading of a comment of ours: its verdict, which is quoted for Markdown already."""
    lines = body.replace("\r\n", "\n").split("\n")
    return next((line.removeprefix("### ") for line in lines if line.startswith("### ")), "done")
