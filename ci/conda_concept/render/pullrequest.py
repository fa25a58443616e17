"""The comments of a pull request: each with its marker, its verdict first, then what comes next."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from conda_concept.conversation import marker
from conda_concept.explain import Explanation
from conda_concept.model import Diff
from conda_concept.render import diff as render_diff
from conda_concept.render import unsolvable as render_unsolvable
from conda_concept.render.diff import Heading, noted
from conda_concept.render.quote import code, fenced, markdown

#: What of a pull request is never taken before it is merged, by where it lies.
_MACHINERY = {
    "ci": "conda-concept itself, its templates or site files",
    ".github": "workflows",
    "hooks": "hooks",
    "tests": "smoke tests",
}
#: What is taken, as data.
_TAKEN = ("environment.yml", "config.yml")

_NOT_PUBLISHED = "merged, but not published"


def changes(name: str, heading: Heading, diffs: Sequence[Diff]) -> str:
    """What changes, or that nothing does."""
    mark = marker("diff", name)
    return f"{mark}\n{render_diff.comment(heading, diffs, budget=render_diff.BUDGET - len(mark) - 1)}"


def unsolvable(name: str, heading: Heading, explanation: Explanation) -> str:
    """Why it cannot be solved, and what would work."""
    return f"{marker('diff', name)}\n{render_unsolvable.comment(heading, explanation)}"


def invalid(name: str, problems: Sequence[str], heading: Heading) -> str:
    """Every mistake in the files, and where."""
    plural = "problems" if len(problems) > 1 else "problem"
    rows = "\n".join(f"- {markdown(problem[:500])}" for problem in problems[:100])
    parts = [
        f"### ❌ {markdown(heading.label)}: {len(problems):,} {plural} in its files",
        "Correct the lines below; every push is looked at again.",
        noted(heading.notes),
        rows,
        _footer(heading),
    ]
    return _comment("diff", name, parts)


def failed(name: str, problems: Sequence[str], heading: Heading) -> str:
    """A failure of ours, said as such."""
    return _comment(
        "diff",
        name,
        [
            f"### ⏸️ {markdown(heading.label)}: not looked at yet, because something failed on our side",
            "**Nothing is wrong with your change.** A comment `/relock` tries again, and so does the next push.",
            noted(heading.notes),
            _folded("What happened", "\n".join(problems)),
            _footer(heading),
        ],
    )


def refused(name: str, why: str, heading: Heading) -> str:
    """A lock that was not made by our job for this spec."""
    return _comment(
        "diff",
        name,
        [
            f"### ⛔ {markdown(heading.label)}: the lock of this run is refused",
            "Nothing of it is built. A comment `/relock` computes it again from `environment.yml`.",
            noted(heading.notes),
            _folded("Why", why),
            _footer(heading),
        ],
    )


def unfinished(name: str, why: str, heading: Heading, *, again: str) -> str:
    """A build that ended on our side: the runner, the disk, the network."""
    return _comment(
        "build",
        name,
        [
            f"### ⏸️ {markdown(heading.label)}: the build did not finish, because something failed on our side",
            f"**Nothing is wrong with your change.** {again}",
            _folded("What happened", why) if why else "",
            _footer(heading),
        ],
    )


def broken(name: str, why: str, heading: Heading) -> str:
    """A build that cannot succeed as it is asked for."""
    return _comment(
        "build",
        name,
        [
            f"### ❌ {markdown(heading.label)}: solved, but cannot be built",
            "What everybody else has stays as it is. The end of the build's own words:",
            fenced(why[-6000:]),
            _footer(heading),
        ],
    )


def started(name: str, heading: Heading) -> str:
    """A build that has begun."""
    return _comment(
        "build",
        name,
        [
            f"### 🛠️ {markdown(heading.label)}: being built and tested",
            "This comment changes when it is done; what everybody else has stays as it is.",
            _footer(heading),
        ],
    )


def not_published(name: str, why: str, heading: Heading) -> str:
    """A merge whose release did not come about."""
    return _comment(
        "release",
        name,
        [
            f"### ⚠️ {markdown(heading.label)}: {_NOT_PUBLISHED}",
            "What everybody else has stays as it is.",
            why,
            _footer(heading),
        ],
    )


def is_published(body: str) -> bool:
    """Whether a comment about a release says that it came about."""
    return _NOT_PUBLISHED not in body.replace("\r\n", "\n").split("\n\n", 1)[0]


def next_step(sha: str, widened: Sequence[str], *, trusted: bool) -> str:
    """What happens next, with the exact words to type."""
    if widened:
        listed = ", ".join(code(one[:200]) for one in widened[:20])
        return (
            f"**Next:** a maintainer has to look, because this also allows what `main` does not: {listed}. "
            f"To build it all the same: `/build {sha}`"
        )
    if trusted:
        return "**Next:** it is being built and tested; a second comment will say how to try it."
    return f"**Next:** a maintainer can start the build with a comment `/build {sha}`"


def after_the_merge() -> str:
    """What happens next where nothing of a pull request can be built before it is merged."""
    return (
        "**Next:** there is nothing to build before the merge, because what changes here is taken from the main branch "
        "only. After the merge it is built with the same packages if anything in it differs, tested, and published."
    )


def machinery(paths: Sequence[str]) -> tuple[str, ...]:
    """A sentence where a pull request changes what builds never take from a pull request."""
    found = []
    for path in paths:
        parts = PurePosixPath(path).parts
        if parts[:1] == ("environments",) and len(parts) > 3:
            found.append(_MACHINERY.get(parts[2], "files beside its spec"))
        elif parts[:1] == ("environments",) and len(parts) == 3 and parts[2] == "conda-lock.yml":
            found.append("a lock, which CI writes")
        elif parts[:1] == ("environments",) and len(parts) == 3 and parts[2] not in _TAKEN:
            found.append("files beside its spec (scripts that stand for commands, say)")
        elif len(parts) > 1 and parts[0] in _MACHINERY and parts[0] != "hooks":
            found.append(_MACHINERY[parts[0]])
    if not found:
        return ()
    listed = "; ".join(sorted(set(found)))
    return (f"This pull request also changes {listed}. Until it is merged, those of the main branch are used.",)


def _comment(key: str, name: str, parts: Sequence[str]) -> str:
    words = "\n\n".join(part for part in parts if part)
    return f"{marker(key, name)}\n{words}\n"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{fenced(text[:10_000])}\n\n</details>"


def _footer(heading: Heading) -> str:
    facts = [f"commit {code(heading.commit[:12])}"] if heading.commit else []
    facts += [f"[{markdown(text)}]({address})" for text, address in heading.links]
    return f"<sub>{' · '.join(facts)}</sub>" if facts else ""
