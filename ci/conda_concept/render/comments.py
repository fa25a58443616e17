"""The comments about what was built and what was published: values in, Markdown out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from conda_concept.model import ReleaseRecord
from conda_concept.render import report
from conda_concept.render.quote import markdown, templates
from conda_concept.results import TestReport


@dataclass(frozen=True, slots=True)
class Trial:
    """How to try a candidate: what `module use` takes, and the module's name."""

    module_path: str
    module: str


def build_comment(
    record: ReleaseRecord,
    published: ReleaseRecord | None,
    tests: TestReport,
    trial: Trial | None,
    *,
    commit: str = "",
    waiting: bool = False,
) -> str:
    """The comment on a built and tested candidate: the verdict, how to try it, what failed, what it weighs.

    `commit` is the one that it is about, where that is not the one that it was first built for. `waiting`: the pull
    request changes the environment's own tests, which are code, and so run only once they are merged.
    """
    return (
        templates()
        .get_template("comment-build.md")
        .render(
            environment=record.release.environment,
            verdict=report.verdict_line(tests, markdown),
            tried=trial is not None,
            waiting=waiting,
            module_path=trial.module_path if trial else "",
            module=trial.module if trial else "",
            report=report.comment(tests, heading=False).strip(),
            sizes=size_table(record, published),
            build_id=record.release.build_id,
            sha256=record.image.sha256[:12],
            commit=(commit or record.source.commit)[:12],
            lock_digest=record.lock_digest[:12],
        )
    )


def build_in(text: str) -> str:
    """The build that our own comment on a candidate is about, empty where it does not say."""
    found = re.search(r"^<sub>build `([0-9a-f]{8})` ", text, re.MULTILINE)
    return found[1] if found else ""


def size_table(record: ReleaseRecord, published: ReleaseRecord | None) -> str:
    """Packages, files and bytes, beside those of the published release where there is one."""
    rows = [
        ("packages", record.packages, published.packages if published else None, "{:,}"),
        ("files inside", record.image.files, published.image.files if published else None, "{:,}"),
        ("installed size", record.image.content_size, published.image.content_size if published else None, "MB"),
        ("image on disk", record.image.size, published.image.size if published else None, "MB"),
        ("inodes on disk", _inodes(record), _inodes(published) if published else None, "{:,}"),
    ]
    if published is None:
        table: Sequence[Sequence[str]] = [(name, _shown(now, how)) for name, now, _, how in rows]
        return tabulate(table, headers=("", "this build"), tablefmt="pipe", colalign=("left", "right"))
    compared = [
        (name, _shown(before or 0, how), _shown(now, how), _delta(now - (before or 0), how))
        for name, now, before, how in rows
    ]
    headers = ("", f"published ({published.release.label})", "this build", "change")
    return tabulate(compared, headers=headers, tablefmt="pipe", colalign=("left", "right", "right", "right"))


def _inodes(record: ReleaseRecord) -> int:
    """What a release costs a shared file system: every name under `bin/` is one file under many names."""
    links = {f"bin/{name}" for name in record.commands}
    return sum(1 for fact in record.files if fact.path not in links)


def _shown(value: int, how: str) -> str:
    if how != "MB":
        return how.format(value)
    return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value / 1e3:,.1f} kB"


def _delta(value: int, how: str) -> str:
    if value == 0:
        return "±0"
    sign = "+" if value > 0 else "\N{MINUS SIGN}"
    return sign + _shown(abs(value), how)


def release_comment(record: ReleaseRecord, names: Sequence[str], *, load: Trial, contact: str, previous: str) -> str:
    """The comment on a published release: by which names, how to load it, how to go back (`previous`, if any)."""
    return (
        templates()
        .get_template("comment-release.md")
        .render(
            environment=record.release.environment,
            label=record.release.label,
            names=names,
            module_path=load.module_path,
            module=load.module,
            contact=contact,
            previous=previous,
            build_id=record.release.build_id,
            sha256=record.image.sha256[:12],
        )
    )
