"""The solver's account of a conflict, a drawn tree, taken apart into chains; and a chain in words. Pure.

The shapes of lines are rattler's (resolvo's `DisplayUnsat`); a line that is not known ends its chain, nothing more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DRAWN = re.compile(r"^(?P<indent>(?:[│ ]  )*)(?:[├└]─ )?(?P<text>.*)$")
_VERSIONS = re.compile(r"^(?P<name>\S+) (?P<versions>.+?) would (?P<verb>require|constrain)$")
_WANTED = re.compile(
    r"^(?P<spec>.+?)(?:,? (?:which (?:can|cannot) be installed|cannot be installed|can be installed|"
    r"for which no candidates|which conflicts with)\b(?P<fate>.*))$"
)
_EXCLUDED = re.compile(r"^(?P<name>\S+) (?P<version>\S+) is excluded because (?P<reason>.+)$")


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a chain: `name` in one of `versions` requires (or constrains) what the next spec says."""

    name: str
    versions: str
    verb: str
    spec: str


@dataclass(frozen=True, slots=True)
class Chain:
    """From a request to a spec on the way (`end`), or to where it `failed`: nothing is there, or it conflicts."""

    root: str
    links: tuple[Link, ...]
    end: str
    failed: bool
    excluded: str = ""


def chains(text: str) -> list[Chain]:
    """Every chain from a request to a spec that another package asks for, in the order of the text."""
    found: list[Chain] = []
    path: list[str] = []
    for depth, line in _lines(text):
        del path[depth:]
        path += [""] * (depth - len(path)) + [line]
        chain = _chain(path)
        if chain is not None:
            found.append(chain)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Depth and text of every line; a headline is no line of the tree."""
    for raw in text.splitlines():
        line = raw.removeprefix("Cannot solve the request because of: ")
        match = _DRAWN.match(line)
        if match is None or not match["text"].strip() or match["text"].startswith("The following packages"):
            continue
        # Below a headline the roots are drawn with a branch, without one they are the first line itself.
        drawn = "├─" in line or "└─" in line
        yield len(match["indent"]) // 3 + (1 if drawn else 0), match["text"].strip()


def _chain(path: list[str]) -> Chain | None:
    """The chain that ends in the last line of `path`, if that line is a spec or an excluded package."""
    excluded = _EXCLUDED.match(path[-1])
    if _WANTED.match(path[-1]) is None and excluded is None:
        return None
    failed = excluded is not None or any(word in path[-1] for word in ("no candidates", "which conflicts with"))
    links: list[Link] = []
    lines = [line for line in path if line]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        match = _VERSIONS.match(line)
        if match:
            links.append(Link(match["name"], match["versions"], match["verb"], _spec(following)))
    root = _spec(lines[0]) if lines else ""
    end = _spec(path[-1]) if excluded is None else f"{excluded['name']} {excluded['version']}"
    return Chain(root, tuple(links), end, failed, excluded["reason"] if excluded else "")


def _spec(line: str) -> str:
    """The match spec that a line starts with, as people write it: `numpy >=2`; a bare name for `numpy *`."""
    match = _WANTED.match(line)
    text = match["spec"] if match else line
    text = re.sub(r'\[channel="[^"]*?([^/"]+)/?"\]', "", text)
    return text.removesuffix(" *").strip().rstrip(",.")
