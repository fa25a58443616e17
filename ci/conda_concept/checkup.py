"""What the check of a site finds: verdicts with their words, and how to mend what is wrong."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "wrong", "not tried"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, and what to do where it is not as it has to be."""

    verdict: Verdict
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step with its worst verdict and its seconds."""

    name: str
    verdict: Verdict
    found: tuple[Finding, ...]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Checked:
    """All stages of a site; `kept` is the scratch root where it was left on purpose."""

    site: str
    stages: tuple[Stage, ...]
    kept: str = ""

    @property
    def wrong(self) -> int:
        """How many stages are wrong."""
        return sum(stage.verdict == "wrong" for stage in self.stages)


def ok(text: str) -> Finding:
    """As it should be."""
    return Finding("ok", text)


def wrong(text: str, mend: str) -> Finding:
    """Something that users or builds will stumble over."""
    return Finding("wrong", text, mend)


def warning(text: str, mend: str) -> Finding:
    """Something that may be meant so."""
    return Finding("warning", text, mend)
