"""What is said in the issue of a new version: one checklist, edited in place, and short answers."""

import re
import shlex
from collections.abc import Sequence

from conda_concept.conversation import IssueFacts, marker, on_behalf
from conda_concept.quarter import Progress, Trial, Wanted
from conda_concept.render.quote import code, fenced, markdown

CHECKLIST = marker("quarter", "checklist")
ANSWER = marker("answer", "command")
_FOOTER = (
    "<sub>A comment `/retry` by somebody who may write looks at everything again and goes on with what is missing; "
    "what is done already stays as it is.</sub>"
)
_DIGEST = "<!-- conda-concept:asked:{} -->"


def checklist(there: Progress, digest: str, trouble: str = "") -> str:
    """The checklist: what comes next on top, then every step with its links. `digest` is that of the issue's text."""
    parts = [
        f"{CHECKLIST}\n{_DIGEST.format(digest)}\n### {_heading(there)}",
        _next(there),
        f"**The last step did not work.** A comment `/retry` goes on from there.\n\n{fenced(trouble[:4000])}"
        if trouble
        else "",
        "\n".join(_steps(there)),
        _FOOTER,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def digest_in(text: str) -> str:
    """The digest of the issue's text that a checklist keeps."""
    found = re.search(_DIGEST.format("([0-9a-f]{64})"), text)
    return found[1] if found else ""


def stands(text: str) -> str:
    """A checklist's heading, for a terminal."""
    found = re.search(r"(?m)^### (.+)$", text)
    return found[1].replace("`", "") if found else ""


def _heading(there: Progress) -> str:
    label = code(there.asked.label)
    if there.page:
        return f"🚀 {label} is released"
    if there.dropped:
        return f"⏹️ {label}: its pull request was closed"
    if there.merged and there.release and not there.published:
        return f"⚠️ {label}: merged, but not published"
    if there.merged:
        return f"📦 {label}: {'published, being announced' if there.published else 'merged, being published'}"
    words = {
        "success": f"🧪 {label}: a release candidate can be tried",
        "failure": f"❌ {label}: needs a change before it can be released",
        "error": f"⏸️ {label}: something failed on our side",
    }
    return words.get(there.building, f"🛠️ {label}: being prepared")


def _next(there: Progress) -> str:
    pull = there.pull
    if there.page:
        return f"[Release notes, lock, software bill of materials and test results]({there.page})."
    if pull is None:
        return "**Next:** a branch and a pull request."
    if there.dropped:
        return f"**Next:** reopen #{pull.number} to go on, or close this issue too."
    if there.merged and there.release and not there.published:
        return (
            f"**Next:** [the release]({there.release}) says what is wrong. Where it is on our side, comment `/retry`; "
            "else merge what puts it right, which publishes it."
        )
    if there.merged:
        left = "tagged and announced" if there.published else "published, tagged and announced"
        return f"**Next:** it is {left}. If nothing happens for an hour, comment `/retry`."
    match there.building:
        case "success":
            return (
                f"**Next:** try it; say here what you find. When it is good, merge #{pull.number}; that publishes it."
                + (f"\n\n{_tried(there.trial)}" if there.trial else "")
            )
        case "failure":
            return (
                f"**Next:** #{pull.number} says what is wrong ({markdown(there.said)}). Push the change to its branch "
                f"{code(there.asked.branch)}; every push is built and tried again."
            )
        case "error":
            return "**Next:** comment `/retry`; nothing is wrong with what was asked for."
        case _:
            return "**Next:** everything is solved, built and tested; this comment changes when that is done."


def _tried(trial: Trial) -> str:
    lines = [f"module use {shlex.quote(trial.module_path)}", f"module load {shlex.quote(trial.module)}", "python3"]
    return "```sh\n{}\n```".format("\n".join(lines))


def _steps(there: Progress) -> list[str]:
    asked, pull = there.asked, there.pull
    number = f"#{pull.number}" if pull else ""
    packages = "everything refreshed" if asked.refresh else "packages as they are"
    diff = f", [what changes]({there.diff})" if there.diff else ""
    tried = f", to be tried as {code(there.trial.module)}" if there.trial and there.building == "success" else ""
    build = f" ([results]({there.build}){tried})" if there.build and there.building != "pending" else ""
    plain, unstable = code(asked.environment), code(f"{asked.environment}-unstable")
    stable = code(f"{asked.environment}-{asked.stable}") if asked.stable else "the version before"
    tag = f": [{asked.label}]({there.home}/tree/{asked.label})" if there.page else ""
    notes = f", [release notes]({there.page})" if there.page else ""
    rows = (
        (True, f"Asked for by {code(there.opener)}: {packages}"),
        (pull is not None, f"Branch {code(asked.branch)} and pull request {number}{diff}".rstrip()),
        (there.merged or there.building == "success", f"Built and tested{build}"),
        (there.merged, f"Merged {number}".rstrip()),
        (
            there.published or bool(there.page),
            f"Published: {unstable} moves to {code(asked.label)}, {plain} to {stable} (if that is published)",
        ),
        (bool(there.page), f"Tag and branch for fixes{tag}{notes}"),
        (bool(there.page), "This issue is closed"),
    )
    return [f"- [{'x' if done else ' '}] {text}" for done, text in rows]


def trial_in(text: str) -> Trial | None:
    """How a candidate is loaded, from our own comment on its build."""
    found = {}
    for word in ("use", "load"):
        line = re.search(rf"(?m)^module {word} (.+)$", text)
        if line is None:
            return None
        found[word] = shlex.split(line[1])[0]
    return Trial(found["use"], found["load"])


# --- short answers ------------------------------------------------------------------------------------------------


def thanks(opener: str) -> str:
    """For somebody who may not release."""
    return (
        f"{ANSWER}\n### Thank you\n\nA new version is opened by people who may write to this repository, and "
        f"{code(opener)} is not among them as far as GitHub says. Please ask a maintainer to open one; what you wrote "
        "here helps them. Nothing was started.\n"
    )


def not_taken(problems: Sequence[str]) -> str:
    """For a form that says what cannot be."""
    rows = "\n".join(f"- {markdown(problem[:500])}" for problem in problems[:50])
    return (
        f"{ANSWER}\n### ❌ Not started\n\n{rows}\n\nCorrect the issue's text, then comment `/retry`; or close it and "
        "open another one.\n"
    )


def edited() -> str:
    """For an issue whose text is another one than that which was acted on."""
    return (
        f"{ANSWER}\n### ⛔ Not gone on with\n\nThe text of this issue was edited after the work on it had begun, so "
        "nobody can tell any more what was agreed to. Put it back as it was, or close this issue and open another "
        "one.\n"
    )


def twin(label: str, other: int) -> str:
    """For a second issue about the same version."""
    return f"{ANSWER}\n### Not started\n\n#{other} asks for {code(label)} already.\n"


def pull_body(asked: Wanted, issue: IssueFacts, lines: str) -> str:
    """The text of the pull request: where it comes from, what it changes, and what merging does."""
    behalf = f"{on_behalf(issue.author)}\n" if on_behalf(issue.author) else ""
    what = (
        "Its lock is solved from nothing, so everything moves to the newest that fits together."
        if asked.refresh
        else "Packages stay as they are, as far as they still can."
    )
    return (
        f"{behalf}Asked for in #{issue.number}, which says how far it is. {what} The comment below shows what "
        f"changes; the lock itself is written by the release job, when this is merged."
        f"\n\n{fenced(lines)}\n\nMerging publishes the candidate that was tested, moves the names, and makes the tag "
        f"{code(asked.label)} and its release notes.\n"
    )
