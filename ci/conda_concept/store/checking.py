"""Comparing a release with its record, byte by byte or at a glance, and what the tests said about it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import GateError, IntegrityError
from conda_concept.layout import Layout
from conda_concept.model import FileFact, Problem, Release, ReleaseRecord
from conda_concept.store.reading import Reader
from conda_concept.store.staging import Progress, digest, no_progress, walk


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks releases of one store."""

    layout: Layout
    reader: Reader

    def verify(self, release: Release, progress: Progress = no_progress, *, read: bool = True) -> tuple[Problem, ...]:
        """Every difference between a release and its record; with `read` every byte is read again.

        Without it, kinds, sizes, permissions and link targets are compared, which takes no longer for a larger image.
        """
        try:
            record = self.reader.record(release)
        except IntegrityError as error:
            return (Problem(release, "release.json", error.message),)
        prefix = self.layout.prefix(release)
        present = {str(path.relative_to(prefix)): path for path in walk(prefix)}
        counted = _Counted(sum(fact.size for fact in record.files) if read else 0, progress)
        problems = [
            Problem(release, fact.path, text)
            for fact in record.files
            if (text := _difference(fact, present.get(fact.path), counted, read=read))
        ]
        listed = {fact.path for fact in record.files}
        problems += [Problem(release, path, "is not in the record") for path in present if path not in listed]
        problems += self._beside(release, record, listed)
        return tuple(sorted(problems, key=lambda problem: problem.path))

    def gate(self, release: Release, record: ReleaseRecord) -> str:
        """Why the tests do not let a release through; empty if they do."""
        verdict = self.reader.verdict(release)
        if verdict is None and self.passed_once(release):
            return f"{release} was published as tested, and its test results (tests.json) are gone: it is damaged."
        if verdict is None:
            return f"{release} has not been tested."
        if verdict.image_sha256 != record.image.sha256:
            return f"The test results beside {release} are of another image ({verdict.image_sha256[:12]}…)."
        if not verdict.passed:
            counts = ", ".join(f"{count} {kind}" for kind, count in verdict.counts)
            return f"The tests of {release} did not pass: {counts or 'no counts given'}."
        return ""

    def passed_once(self, release: Release) -> bool:
        """Whether the history says that the tests let a release through: it was pointed at without a reason given."""
        return any(
            event.release == release and event.action in {"publish", "rollback"} and not event.forced
            for event in self.reader.history()[0]
        )

    def _beside(self, release: Release, record: ReleaseRecord, listed: set[str]) -> list[Problem]:
        """The files that the record cannot list: itself, and what the tests add later."""
        found = []
        if self.layout.image(release).name not in listed:
            found.append(Problem(release, "release.json", "lists no image"))
        try:
            verdict = self.reader.verdict(release)
        except IntegrityError as error:
            return [*found, Problem(release, "tests.json", error.message)]
        report = self.layout.tests(release)
        if verdict is None and self.passed_once(release):
            text = "is missing, and the release was published as tested; `conda-concept test` writes it again"
            found.append(Problem(release, "tests.json", text))
        if verdict is not None and verdict.image_sha256 != record.image.sha256:
            found.append(Problem(release, "tests.json", "is about another image"))
        if verdict is not None and verdict.report_sha256 and (text := _other_report(report, verdict.report_sha256)):
            found.append(Problem(release, "tests.xml", text))
        # They get the permissions of the image, whatever the site's are.
        wanted = next((fact.mode for fact in record.files if fact.path == self.layout.image(release).name), 0o644)
        found.extend(
            Problem(release, path.name, text)
            for path in (self.layout.record(release), self.layout.verdict(release), report)
            if os.path.lexists(path) and (text := _other_mode(path, wanted))
        )
        return found


def _other_report(path: Path, wanted: str) -> str:
    """What is wrong with the tests' report, empty if nothing."""
    if not path.is_file():
        return "is missing"
    try:
        same = digest(path, lambda _chunk, _done: None).sha256 == wanted
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if same else "is not the report that was judged"


def _other_mode(path: Path, wanted: int) -> str:
    present = path.lstat().st_mode
    if not stat.S_ISREG(present):
        return "is not a file"
    return "" if stat.S_IMODE(present) == wanted else _modes(present, wanted)


def _modes(present: int, wanted: int) -> str:
    return f"has permissions {stat.S_IMODE(present):04o} and had {wanted:04o}"


class _Counted:
    """Adds up the bytes of several files for one progress display."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.done, self.progress = total, 0, progress
        self.seen: dict[tuple[int, int], str] = {}

    def sha256(self, path: Path) -> str:
        """The digest of a file; names of one file are read once."""
        present = path.stat()
        key = (present.st_dev, present.st_ino)
        if key not in self.seen:
            start = self.done
            self.seen[key] = digest(path, lambda _chunk, done: self.progress(start + done, self.total)).sha256
        self.done += present.st_size
        return self.seen[key]


def _difference(fact: FileFact, path: Path | None, counted: _Counted, *, read: bool) -> str:
    """What is wrong with one path, empty if nothing."""
    if path is None:
        return "is missing"
    try:
        return _compared(fact, path, counted, read=read)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _compared(fact: FileFact, path: Path, counted: _Counted, *, read: bool) -> str:
    present = path.lstat()
    kinds = ((stat.S_ISLNK, "link"), (stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"))
    kind = next((name for test, name in kinds if test(present.st_mode)), "something else")
    if kind != fact.kind:
        return f"is a {kind} and was a {fact.kind}"
    if kind == "link":
        target = os.readlink(path)  # noqa: PTH115 - the exact text; a Path would tidy it
        return "" if target == fact.proof else f"leads to {target} and led to {fact.proof}"
    if stat.S_IMODE(present.st_mode) != fact.mode:
        return _modes(present.st_mode, fact.mode)
    if kind == "directory":
        return ""
    if present.st_size != fact.size:
        return f"has {present.st_size} bytes and had {fact.size}"
    return "has other content than it had" if read and counted.sha256(path) != fact.proof else ""


def rebuild(release: Release) -> str:
    """What mends a damaged release."""
    return (
        f"`conda-concept build {release.environment} --replace`, in a checkout of the commit that it was built from, "
        f"builds it anew; then `conda-concept test {release}`."
    )


def refuse_damaged(release: Release, problems: tuple[Problem, ...]) -> None:
    """`IntegrityError` with every problem, if there is one."""
    if problems:
        lines = "\n".join(f"  - {problem.path}: {problem.text}" for problem in problems[:20])
        more = f"\n  - and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise IntegrityError(
            f"{release} is not what its record says:\n{lines}{more}",
            hint=f"Nothing points at it that did not before. Take another release, or: {rebuild(release)}",
        )


def refuse_untested(why: str, release: Release) -> None:
    """`GateError`, if there is a reason."""
    if why:
        raise GateError(why, hint=f"`conda-concept test {release}` tests it; --force REASON publishes it all the same.")
