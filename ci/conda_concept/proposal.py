"""What the untrusted job hands to the trusted one: data, checked here to the last string.

The lock is checked by `lockcheck` and the diff is made again by the trusted job, so nothing in this document is shown
or built as it is. An explanation cannot be made again cheaply; it is text, is escaped, and starts nothing.
"""

import json
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from conda_concept.errors import InputError
from conda_concept.explain import Explanation
from conda_concept.lockfile import MAX_BYTES as MAX_LOCK
from conda_concept.model import Place, Request
from conda_concept.settings import EnvironmentName

#: The artifact's name and the one member that is read.
ARTIFACT = "proposal"
MEMBER = "proposal.json"
#: Two locks of the largest size that is taken; a proposal of 1,443 packages has 1.4 MB.
MAX_BYTES = 2 * MAX_LOCK
SCHEMA = 1

Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Line = Annotated[str, StringConstraints(max_length=1000)]
Outcome = Literal["solved", "unsolvable", "invalid", "failed"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Culprit(_Part):
    """A request that conflicts with others, and where it stands."""

    text: Line
    name: Line
    manager: Literal["conda", "pip"] = "conda"
    file: Line
    line: int = Field(ge=0, le=1_000_000)


class Reasons(_Part):
    """An `Explanation` as data."""

    cause: str = Field(max_length=10_000)
    culprits: tuple[Culprit, ...] = Field(default=(), max_length=200)
    remedies: tuple[Line, ...] = Field(default=(), max_length=20)
    solver_text: str = Field(default="", max_length=100_000)
    complete: bool = True

    @classmethod
    def of(cls, explanation: Explanation) -> "Reasons":
        """An explanation, cut to what is taken on the other side."""
        culprits = [
            Culprit(
                text=one.text[:1000],
                name=one.name[:1000],
                manager=one.manager,
                file=one.place.file[:1000],
                line=one.place.line,
            )
            for one in explanation.culprits[:200]
        ]
        return cls(
            cause=explanation.cause[:10_000],
            culprits=tuple(culprits),
            remedies=tuple(text[:1000] for text in explanation.remedies[:20]),
            solver_text=explanation.solver_text[:100_000],
            complete=explanation.complete,
        )

    @property
    def explanation(self) -> Explanation:
        """What renderers take."""
        culprits = [Request(one.text, one.name, one.manager, Place(one.file, one.line)) for one in self.culprits]
        return Explanation(self.cause, tuple(culprits), self.remedies, self.solver_text, self.complete)


class Part(_Part):
    """One environment: `solved` comes with a lock, `unsolvable` with reasons, the others with words in `problems`.

    `invalid` is a mistake in the spec; `failed` is a failure of ours or of the network.
    """

    name: EnvironmentName
    outcome: Outcome
    reasons: tuple[Line, ...] = Field(default=(), max_length=50)
    lock: str = Field(default="", max_length=MAX_LOCK)
    notes: tuple[Line, ...] = Field(default=(), max_length=200)
    unsolvable: Reasons | None = None
    problems: tuple[Line, ...] = Field(default=(), max_length=200)

    @model_validator(mode="after")
    def _whole(self) -> "Part":
        if (self.outcome == "solved") != bool(self.lock) or (self.outcome == "unsolvable") != bool(self.unsolvable):
            raise ValueError("what it says does not fit its outcome")
        return self


class Proposal(_Part):
    """What a pull request would change: its head, the commit of `main` that it starts from, one part an environment."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    head: Sha
    base: Sha
    parts: tuple[Part, ...] = Field(default=(), max_length=50)
    #: A command in a comment that made it: the package of `/refresh` or `/explain`.
    asked: Line = ""

    def part(self, name: str) -> Part | None:
        """What it says about an environment."""
        return next((part for part in self.parts if part.name == name), None)


def dumps(proposal: Proposal) -> str:
    """The document, as JSON."""
    return json.dumps(proposal.model_dump(mode="json", by_alias=True), indent=1) + "\n"


def digest(proposal: Proposal) -> str:
    """What tells a proposal from every other: a run that was run again may bring another one."""
    return sha256(dumps(proposal).encode()).hexdigest()[:12]


def loads(text: str) -> Proposal:
    """The proposal in `text`, or `InputError`: it comes from a stranger."""
    if len(text) > MAX_BYTES:
        raise InputError(f"{MEMBER} has {len(text):,} characters; {MAX_BYTES:,} is the limit.")
    try:
        proposal = Proposal.model_validate_json(text, strict=True)
    except (ValidationError, RecursionError) as error:
        found = error.errors()[:20] if isinstance(error, ValidationError) else []
        problems = [f"{'.'.join(str(one) for one in each['loc'])[:100]}: {each['msg'][:200]}" for each in found]
        raise InputError(f"{MEMBER} is not a proposal:", problems=problems or ["nested too deeply"]) from None
    names = [part.name for part in proposal.parts]
    if len(set(names)) != len(names):
        raise InputError(f"{MEMBER} names an environment twice.")
    return proposal
