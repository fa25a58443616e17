"""Somebody asks for a package: what was asked, what was found out about it, and the words that are checked on the way.

What is found out is computed where nothing can be written, since a package of PyPI may run code of its own to say what
it needs. It crosses to where comments and branches are made as data of a fixed form (`Finding`), checked here.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from conda_concept.conversation import PullFacts
from conda_concept.document import Problems, SourceText
from conda_concept.errors import InputError
from conda_concept.forms import Filled
from conda_concept.model import Manager, Place, Spec
from conda_concept.proposal import MAX_BYTES, Line, Part, Sha
from conda_concept.settings import EnvironmentName
from conda_concept.spec import PACKAGE_NAME, read_spec
from conda_concept.specedit import Edit, ask_for

#: The label that the form gives to an issue, by which requests are found.
LABEL = "package request"
#: The form, in a repository.
FORM = ".github/ISSUE_TEMPLATE/package.yml"
#: The first and the last choice of its third field; between them are channels.
ANY_CHANNEL = "any conda channel"
PYPI = "PyPI"
#: The artifact that one job hands to the other, and its one member.
ARTIFACT = "request"
MEMBER = "request.json"

#: PEP 508's names.
_PYPI_NAME = re.compile(r"(?i)^(?:[A-Z0-9]|[A-Z0-9][A-Z0-9._-]{0,98}[A-Z0-9])$")
#: One bound: an operator and a version. Epochs, local versions and `.*` are letters of a version here.
_BOUND = re.compile(r"^(==|!=|>=|<=|~=|>|<|=)?\s*([0-9][0-9A-Za-z.!+_]{0,40}(?:\.\*)?)$")
_ANY = ("", "*", "any", "latest", "newest")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is well formed: a normalised name, `version` as bounds (`>=2,<3`; empty: any)."""

    environment: str
    name: str
    manager: Manager = "conda"
    version: str = ""
    channel: str = ""

    @property
    def text(self) -> str:
        """The line that asks for it in an `environment.yml`."""
        if self.manager == "pip":
            return f"{self.name}{self.version}"
        return f"{self.channel}::" * bool(self.channel) + f"{self.name} {self.version}".strip()

    @property
    def key(self) -> str:
        """What makes two requests the same: one environment, one name, by whatever installer."""
        return f"{self.environment}:{canonicalize_name(self.name)}"

    @property
    def command(self) -> str:
        """The same from a terminal."""
        words = ["conda-concept request", f"'{self.channel}::{self.name}'" if self.channel else self.name]
        words += [f"--env {self.environment}", *(["--pip"] if self.manager == "pip" else [])]
        return " ".join([*words, *([f"--version '{self.version}'"] if self.version else [])])


def asked(environment: str, name: str, source: str, version: str, *, file: str = "the request") -> Asked:
    """A request from its four answers; `source` is a choice of the form. One `InputError` with all that is wrong."""
    problems, place = Problems(), Place(file)
    manager: Manager = "pip" if source == PYPI else "conda"
    shown = name if len(name) <= 80 else f"{name[:79]}…"
    if manager == "pip" and not _PYPI_NAME.fullmatch(name):
        problems.add(place, f"`{shown}` cannot be the name of a package of PyPI: letters, digits, `.`, `_` and `-`")
    elif manager == "conda" and not PACKAGE_NAME.fullmatch(name.lower()):
        problems.add(place, f"`{shown}` cannot be the name of a conda package: letters, digits, `.`, `_` and `-`")
    bounds = _bounds(version, manager)
    if bounds is None:
        shown = version if len(version) <= 80 else f"{version[:79]}…"
        problems.add(place, f"`{shown}` is no version such as `2.1`, `>=2.1` or `>=2.1,<3`")
    problems.raise_if_any(file)
    return Asked(
        environment=environment,
        name=str(canonicalize_name(name)) if manager == "pip" else name.lower(),
        manager=manager,
        version=bounds or "",
        channel="" if source in (ANY_CHANNEL, PYPI) else source,
    )


def asked_in(filled: Filled, file: str) -> Asked:
    """The request in a form that was filled in."""
    words = [filled.text(name) for name in ("environment", "package", "source", "version")]
    return asked(words[0], words[1], words[2], words[3], file=file)


def as_conda(wanted: Asked, name: str) -> Asked:
    """A request for a package of PyPI as one for conda's package of the same project, which is called `name`."""
    parts = [one.removeprefix("==") if one.endswith(".*") else one for one in wanted.version.split(",")]
    return replace(wanted, name=name, manager="conda", version=",".join(parts))


def package_of(pull: PullFacts, bot: str, environment: str) -> str:
    """The package that a pull request of ours was opened for (as PEP 503 writes names); empty where it was for none."""
    found = re.search(r"(?m)^<!-- conda-concept:request:([a-z0-9_]+):([a-z0-9-]+) -->\s*$", pull.body)
    return found[2] if found and pull.author == bot and found[1] == environment else ""


@dataclass(frozen=True, slots=True)
class Edited:
    """What a request makes of an `environment.yml`, and the spec that this is."""

    edit: Edit
    spec: Spec


def edited(wanted: Asked, environment: SourceText, config: SourceText) -> Edited:
    """The `environment.yml` that asks for it too; `InputError` where a rule is against it.

    Nothing else of the file changes, which is looked at here once more, since a person merges it in good faith.
    """
    before = read_spec(wanted.environment, environment, config)
    edit = ask_for(environment.text, wanted.manager, wanted.name, wanted.version, wanted.channel)
    spec = read_spec(wanted.environment, SourceText(environment.file, edit.text), config)
    others = [
        sorted(one.text for one in each.requests if (one.manager, one.name) != (wanted.manager, wanted.name))
        for each in (before, spec)
    ]
    new = [one.text for one in spec.requests if (one.manager, one.name) == (wanted.manager, wanted.name)]
    if others[0] != others[1] or new != [edit.entry]:
        raise InputError(f"{environment.file} is written in a way that only a person can add to.")
    return Edited(edit, spec)


def _bounds(text: str, manager: Manager) -> str | None:
    """A version that people type, as bounds; a bare one means that version with any fixes (`2.1`: 2.1, 2.1.3)."""
    if text.strip().lower() in _ANY:
        return ""
    found = []
    for part in text.split(","):
        match = _BOUND.fullmatch(part.strip())
        if match is None:
            return None
        operator, version = match[1] or "", match[2]
        if operator in ("", "="):
            version = f"{version.removesuffix('.*')}.*"
            operator = "==" if manager == "pip" else ""
        found.append(f"{operator}{version}")
    bounds = ",".join(found)
    return bounds if _understood(bounds, manager) else None


def _understood(bounds: str, manager: Manager) -> bool:
    """Whether the solver of this manager takes them: letters and dots alone make no version (`0.`)."""
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    try:
        if manager == "pip":
            SpecifierSet(bounds)
        else:
            MatchSpec(f"x {bounds}")
    except (InvalidSpecifier, InvalidMatchSpecError):
        return False
    return True


# --- what was found out -------------------------------------------------------------------------------------------


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
Word = Annotated[str, StringConstraints(max_length=200)]
Day = Annotated[str, StringConstraints(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$")]
Outcome = Literal["solved", "present", "unknown", "unsolvable", "refused", "failed"]


class Facts(_Data):
    """What the channels or the index say about a name: the newest version, and when something was last uploaded.

    `newest` is the newest that they have, whatever was asked for. Empty strings and None where they do not say.
    """

    newest: Word
    origin: Word
    uploaded: Day = ""
    license: Word = ""
    size: int | None = Field(default=None, ge=0, le=10**12)
    versions: int = Field(default=0, ge=0, le=10**6)


class Nearest(_Data):
    """A name that is like the one that was asked for, and the channels that have it."""

    name: Name
    channels: tuple[Word, ...] = Field(default=(), max_length=20)


class Finding(_Data):
    """What became of one request. Its name, manager and channel are those that would be taken, not always those asked.

    solved: it fits, `part` has the lock. present: it is there already. unknown: nothing is called so, `nearest` may
    be meant. unsolvable: `part` says why. refused: a rule of the environment is against it. failed: our side.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    #: sha256 of the issue's text; empty where there is no issue.
    digest: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    #: The commit that it was tried on.
    base: Sha | Literal[""] = ""
    environment: EnvironmentName
    name: Name
    manager: Manager
    version: Word = ""
    channel: Word = ""
    outcome: Outcome
    facts: Facts | None = None
    nearest: tuple[Nearest, ...] = Field(default=(), max_length=10)
    part: Part | None = None
    #: Sentences of ours: preferred to PyPI, moved on.
    notes: tuple[Line, ...] = Field(default=(), max_length=20)
    problems: tuple[Line, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _whole(self) -> "Finding":
        wanted = self.outcome if self.outcome in ("solved", "unsolvable") else None
        if (self.part.outcome if self.part else None) != wanted or (self.part and self.part.name != self.environment):
            raise ValueError("what it says does not fit its outcome")
        return self

    @property
    def asked(self) -> Asked:
        """The request that it is about."""
        return Asked(self.environment, self.name, self.manager, self.version, self.channel)


def dumps(finding: Finding) -> str:
    """The document, as JSON."""
    return json.dumps(finding.model_dump(mode="json", by_alias=True), indent=1) + "\n"


def loads(text: str) -> Finding:
    """The finding in `text`, or `InputError`: a stranger's package may have had a hand in it."""
    if len(text) > MAX_BYTES:
        raise InputError(f"{MEMBER} has {len(text):,} characters; {MAX_BYTES:,} is the limit.")
    try:
        return Finding.model_validate_json(text, strict=True)
    except (ValidationError, RecursionError) as error:
        found = error.errors()[:20] if isinstance(error, ValidationError) else []
        problems = [f"{'.'.join(str(one) for one in each['loc'])[:100]}: {each['msg'][:200]}" for each in found]
        raise InputError(f"{MEMBER} is not a finding:", problems=problems or ["nested too deeply"]) from None


def answers(wanted: Asked, finding: Finding, pip_name: str) -> bool:
    """Whether a finding is about what was asked for, or about conda's package of the same project.

    `pip_name` is what pip calls the finding's package.
    """
    if finding.asked == wanted:
        return True
    return wanted.manager == "pip" and pip_name == wanted.name and finding.asked == as_conda(wanted, finding.name)
