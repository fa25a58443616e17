"""Why there is no solution, in words, and what would work.

That is: the smallest set of requests that conflict, where each was asked for, and the smallest change, found by trying.
The solver names one conflict of many, and often not the request that causes it. So the requests are shrunk: a set of
requests of which none can be left out without the rest becoming solvable must hold the cause.
"""

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from conda_concept.errors import SolveTimeoutError, UnsolvableError
from conda_concept.lockfile import split_spec
from conda_concept.model import Request, Spec
from conda_concept.solvertext import Chain, chains

#: Seconds for finding the conflict and a way out. One try takes about 0.1 s for 1,443 packages.
BUDGET = 60.0
#: How many changes that work are shown; more do not help to choose.
ENOUGH = 3
#: From this likeness on (difflib's ratio) another name is taken for what was meant.
LIKELY_TYPO = 0.6

Remedy = str


class Prober(Protocol):
    """What an explanation needs of a solver session: tries, and what the channels have."""

    spec: Spec
    platform: str
    virtual: dict[str, str]

    def attempt(
        self, requests: Iterable[Request], *, virtual: Mapping[str, str] | None = None, time_limit: float | None = None
    ) -> str | None:
        """None if `requests` have a solution, else the solver's text."""

    def satisfiable(self, requests: Sequence[Request]) -> set[str]:
        """The names of the requests that some package meets."""

    def names(self) -> list[str]:
        """Every package name of the channels."""

    def delayed(self, request: Request) -> list[str]:
        """The versions that would meet a request if they were not too young."""

    def versions(self, name: str) -> list[tuple[str, str, str]]:
        """Version, build and channel of everything called `name`, oldest first."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why there is no solution: the cause in a sentence or two, the requests that conflict, changes that would work.

    `complete` is False where the time was over before every single change was tried.
    """

    cause: str
    culprits: tuple[Request, ...]
    remedies: tuple[Remedy, ...]
    solver_text: str
    complete: bool = True


class ExplainedError(UnsolvableError):
    """No solution, and why; renderers take `explanation`, the terminal takes the message."""

    def __init__(self, name: str, explanation: Explanation) -> None:
        lines = [f"{name} cannot be solved: {explanation.cause}"]
        if explanation.culprits:
            lines += ["Asked for:", *(f"  - {request.place}: {request.text}" for request in explanation.culprits)]
        if explanation.remedies:
            lines += ["What would work (each was tried by itself):", *(f"  - {text}" for text in explanation.remedies)]
        else:
            lines.append(
                "No single change of one of these requests makes it solvable."
                if explanation.complete
                else "The time for trying changes was over before one was found."
            )
        super().__init__("\n".join(lines), solver_text=explanation.solver_text)
        self.explanation = explanation


def explain(
    session: Prober, text: str, *, budget: float = BUDGET, clock: Callable[[], float] = time.monotonic
) -> Explanation:
    """The explanation of the solver's `text` for the session's spec; it stops trying after `budget` seconds."""
    tries = Tries(session, clock, clock() + budget)
    conda = [request for request in session.spec.requests if request.manager == "conda"]
    met = session.satisfiable(conda)
    unmet = [request for request in conda if request.name not in met]
    if unmet:
        cause, remedies = _nothing_there(tries, conda, unmet)
        return Explanation(cause, tuple(unmet), tuple(remedies), text, complete=not tries.over)
    core = find_core(tries, conda, text)
    account = (tries.text(core) if core else None) or text
    wanted = _virtual_wanted(tries, core, account)
    virtual = _virtual_remedies(tries, conda, wanted)
    blamed, found = _request_remedies(tries, conda, core)
    telling = _Telling(frozenset(wanted), frozenset(blamed), {request.name: request for request in core})
    cause = _story(session, chains(account), telling)
    return Explanation(cause, tuple(core), tuple([*virtual, *found][:ENOUGH]), text, complete=not tries.over)


class Tries:
    """Tries within a time budget. When the time is over every try counts as `solvable: no`, and `over` is set."""

    def __init__(self, session: Prober, clock: Callable[[], float], deadline: float) -> None:
        self.session = session
        self.over = False
        self._clock = clock
        self._deadline = deadline

    def text(self, requests: Sequence[Request], virtual: Mapping[str, str] | None = None) -> str | None:
        """The solver's text for `requests`; None if they have a solution."""
        left = self._deadline - self._clock()
        if left <= 0:
            self.over = True
            return ""
        try:
            return self.session.attempt(requests, virtual=virtual, time_limit=max(left, 1.0))
        except SolveTimeoutError:
            self.over = True
            return ""

    def works(self, requests: Sequence[Request], virtual: Mapping[str, str] | None = None) -> bool:
        """Whether `requests` have a solution."""
        return self.text(requests, virtual) is None


# --- requests that nothing meets ------------------------------------------------------------------------------------


def _nothing_there(tries: Tries, conda: Sequence[Request], unmet: Sequence[Request]) -> tuple[str, list[Remedy]]:
    """Requests of which each by itself is hopeless: an unknown name, or a version or build that no channel has."""
    session = tries.session
    names = session.names()
    causes: list[str] = []
    remedies: list[Remedy] = []
    changed = {request: request for request in conda}
    for request in unmet:
        young = session.delayed(request)
        rule = session.spec.config.exclude_newer
        if young and rule is not None:
            causes.append(
                f"`{request.text}` ({request.place}) is met only by {_listed(young)}, which came less than "
                f"{rule.days} days ago, the delay of `exclude_newer`"
            )
            changed[request] = _bare(request)
            text = f"wait, or add `{request.name}` to `except_packages` in config.yml"
        elif request.name not in names:
            near = difflib.get_close_matches(request.name, names, n=3, cutoff=0.0)
            causes.append(_unknown_name(request, session.spec, near))
            typo = bool(near) and difflib.SequenceMatcher(None, near[0], request.name).ratio() >= LIKELY_TYPO
            changed[request] = replace(request, text=near[0], name=near[0], channel=None) if typo else request
            text = f"write `{near[0]}` for `{request.name}`" if typo else ""
        else:
            cause, other = _no_such_version(request, session)
            causes.append(cause)
            changed[request] = other
            text = f"ask for `{other.text}` instead of `{request.text}`"
        if text:
            remedies.append(f"{text} ({request.place})")
    if remedies and len(remedies) == len(unmet) and tries.works(list(changed.values())):
        return "; ".join(causes) + ".", [" and ".join(remedies)] if len(remedies) > 1 else remedies
    rest = [request for request in conda if request not in unmet]
    if tries.works(rest):
        gone = ", ".join(f"`{request.text}`" for request in unmet)
        return "; ".join(causes) + ".", [f"leave out {gone}"]
    return "; ".join(causes) + ".", []


def _unknown_name(request: Request, spec: Spec, near: Sequence[str]) -> str:
    where = f"channel {request.channel}" if request.channel else f"the channels ({', '.join(spec.channels)})"
    hint = f", the nearest names are {_listed([f'`{name}`' for name in near])}" if near else ""
    return f"no package is called `{request.name}` in {where} ({request.place}){hint}"


def _no_such_version(request: Request, session: Prober) -> tuple[str, Request]:
    """The sentence, and the request loosened by what is wrong with it: its channel, or its version."""
    found = session.versions(request.name)
    there = [item for item in found if request.channel in (None, item[2])]
    if request.channel and not there:
        others = _listed(sorted({channel for _, _, channel in found}))
        text = request.text.rpartition("::")[2]
        cause = f"channel {request.channel} has no `{request.name}`, but {others} has ({request.place})"
        return cause, replace(request, text=text, channel=None)
    versions = list(dict.fromkeys(version for version, _, _ in there))
    shown = _listed([*versions[:1], "…", *versions[-2:]] if len(versions) > 4 else versions)
    _, rest = split_spec(request.text.rpartition("::")[2])
    what = "with that build" if len(rest.split()) > 1 or "=" in rest.lstrip("=<>!~") else "that fits"
    cause = f"no channel has a `{request.name}` {what}: `{request.text}` ({request.place}), there is {shown}"
    return cause, _bare(request)


# --- the conflict ---------------------------------------------------------------------------------------------------


def find_core(tries: Tries, requests: Sequence[Request], text: str) -> list[Request]:
    """A smallest set of requests that cannot be had together, in the order of the spec.

    What the solver's text mentions is tried first. QuickXplain (Junker, AAAI 2004) then needs a number of tries that
    grows with the logarithm of the number of requests. Every one is needed: without it the rest is solvable.
    """
    words = set(re.findall(r"[a-z0-9_][a-z0-9_.-]*", text))
    named = [request for request in requests if request.name in words]
    start = named if named and not tries.works(named) else [*named, *(r for r in requests if r not in named)]
    core = set(_quick_explain(tries, [], start, grown=False))
    return [request for request in requests if request in core]


def _quick_explain(tries: Tries, base: list[Request], requests: list[Request], *, grown: bool) -> list[Request]:
    """What of `requests` is needed, on top of `base`, for a conflict; `grown`: base has changed since the last try."""
    if grown and not tries.works(base):
        return []
    if len(requests) <= 1 or tries.over:
        return requests
    half = len(requests) // 2
    first, second = requests[:half], requests[half:]
    needed_second = _quick_explain(tries, base + first, second, grown=True)
    needed_first = _quick_explain(tries, base + needed_second, first, grown=bool(needed_second))
    return needed_first + needed_second


# --- ways out -------------------------------------------------------------------------------------------------------


def _virtual_wanted(tries: Tries, core: Sequence[Request], text: str) -> dict[str, str]:
    """Virtual packages whose other value would end this conflict: `{"__cuda": "12.4"}`; empty if that is not it."""
    wanted: dict[str, str] = {}
    for chain in chains(text):
        name, rest = split_spec(chain.end)
        version = re.search(r">=\s*([0-9][0-9.]*)", rest)
        if name.startswith("__") and version:
            wanted[name] = version[1].rstrip(".")
        elif name.startswith("__") and not rest and name not in tries.session.virtual:
            wanted[name] = "0"
    virtual = {**tries.session.virtual, **wanted}
    return wanted if wanted and tries.works(core, virtual) else {}


def _virtual_remedies(tries: Tries, conda: Sequence[Request], wanted: Mapping[str, str]) -> list[Remedy]:
    """Whether everything is solvable with other virtual packages; what is wanted may grow on the way."""
    if not wanted:
        return []
    grown = dict(wanted)
    for _ in range(4):
        text = tries.text(conda, {**tries.session.virtual, **grown})
        if text is None:
            changes = _listed([f'`{name}: "{version}"`' for name, version in grown.items()])
            return [f"set {changes} in config.yml, if the machines really have it"]
        more = _virtual_wanted(tries, conda, text) if text else {}
        if not more or more.items() <= grown.items():
            return []
        grown |= more
    return []


def _request_remedies(
    tries: Tries, conda: Sequence[Request], core: Sequence[Request]
) -> tuple[list[str], list[Remedy]]:
    """Loosened, then left out: one request of the core at a time; with the names of those that it helps to change.

    A loosened request beats a lost one.
    """
    blamed: list[str] = []
    found: list[Remedy] = []
    for request in core:
        bare = _bare(request)
        if bare.text != request.text and tries.works([bare if other is request else other for other in conda]):
            blamed.append(request.name)
            found.append(f"ask for `{bare.text}` instead of `{request.text}` ({request.place})")
    if found:
        return blamed, found
    for request in core:
        if tries.works([other for other in conda if other is not request]):
            blamed.append(request.name)
            found.append(f"leave out `{request.text}` ({request.place})")
    return blamed, found


def _bare(request: Request) -> Request:
    """The request without its version and build; its channel stays."""
    mark = f"{request.channel}::" if request.channel else ""
    return replace(request, text=f"{mark}{request.name}")


# --- words ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Telling:
    """What a story is about: virtual packages to blame, names of requests to blame, and all requests that conflict."""

    wanted: frozenset[str]
    blamed: frozenset[str]
    core: Mapping[str, Request]

    def weight(self, chain: Chain) -> tuple[bool, int, int]:
        """Failures first. What ends in the machine, or in a request that is to blame, says most; then short ones."""
        root, end = _root(chain), _end(chain)
        if end in self.wanted:
            rank = 0
        elif end in self.blamed and end != root:
            rank = 1
        elif end in self.core and end != root:
            rank = 2 if root in self.blamed else 3
        else:
            rank = 4
        return not chain.failed, rank, len(chain.links)


def _root(chain: Chain) -> str:
    return split_spec(chain.root.rpartition("::")[2])[0]


def _end(chain: Chain) -> str:
    return split_spec(chain.end)[0]


def _story(session: Prober, found: Sequence[Chain], telling: _Telling) -> str:
    """The conflict in a sentence: the chains that lead to what the conflict is about."""
    told: list[str] = []
    ends: set[str] = set()
    roots: set[str] = set()
    for chain in sorted(found, key=telling.weight):
        root, end = _root(chain), _end(chain)
        if not chain.links or root.startswith("__") or root in roots or (told and end not in ends):
            continue
        told.append(_chain_in_words(chain))
        ends.add(end)
        roots.add(root)
        if end.startswith("__"):
            return f"{told[0]}; {_what_the_machine_has(session, end)}."
        if end in telling.core and end != root:
            request = telling.core[end]
            return f"{told[0]}; `{request.text}` is asked for ({request.place})."
    if told:
        return "; but ".join(told[:2]) + "."
    listed = _listed([f"`{request.text}`" for request in telling.core.values()])
    return f"{listed} cannot be had together." if len(telling.core) > 1 else f"{listed} cannot be had here."


def _chain_in_words(chain: Chain) -> str:
    """`av` needs `ffmpeg >=7.1.1`, of which 7.1.1 wants `__cuda >=12.4`."""
    parts: list[str] = []
    for link in chain.links:
        verb = "needs" if link.verb == "require" else "wants"
        versions = " or ".join(link.versions.split(" | ")[:3])
        subject = f"`{link.name}` {versions}" if not parts else f"of which {versions}"
        parts.append(f"{subject} {verb} `{link.spec}`")
    return ", ".join(parts)


def _what_the_machine_has(session: Prober, name: str) -> str:
    if name not in session.virtual:
        return f"config.yml does not say that the machine has `{name}`"
    return f"config.yml says `{name} {session.virtual[name].partition('=')[0]}`"


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
