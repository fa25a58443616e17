"""A diagnosis as lines to paste into a ticket; the first ones are those of the launcher's own report, word by word."""

import re
from collections.abc import Iterable

from conda_concept.evidence import Evidence, ImageRead
from conda_concept.render.store import size

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def evidence_text(evidence: Evidence) -> str:
    """The block of one release."""
    here = evidence.here
    lines = [
        ("job", here.job),
        ("node", here.node),
        ("user", here.user),
        ("time", here.time),
        ("image", evidence.image),
        ("runtime", evidence.runtime),
        ("sha256", _digest(evidence)),
        ("groups", ", ".join(here.groups)),
        ("modules", ", ".join(here.modules) or "none loaded"),
        ("version", evidence.version),
        ("built", evidence.built or evidence.trouble),
        ("size", _size(evidence)),
        ("read", _read(evidence.read)),
        *(("mount", mount) for mount in here.mounts),
        *(("space", _space(*one)) for one in here.space),
        *(("history", event) for event in evidence.history),
        *(("environ", f"{name}={value}") for name, value in here.variables.items()),
        ("explain", evidence.explain),
        ("start", evidence.start),
        ("report", f"send these lines to {evidence.contact or 'the operators'}"),
    ]
    return "\n".join([f"{evidence.product}: {evidence.release}", *_lines(lines)])


def _lines(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Each on one line: what others wrote cannot pass for a line of ours."""
    return [f"  {name:<8}{' '.join(_plain(_COLOUR.sub('', text)).split())}" for name, text in pairs]


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _digest(evidence: Evidence) -> str:
    """In the launcher's words."""
    read = evidence.read
    if not read.sha256:
        return f"cannot be read, in blocks of 1 MiB: {_bad(read)}"
    if evidence.good:
        return f"{read.sha256}, as it should be"
    return f"{read.sha256}, but it should be {evidence.expected or 'in a record that cannot be read'}"


def _bad(read: ImageRead) -> str:
    spans = [str(first) if first == last else f"{first}-{last}" for first, last in read.bad]
    parts = [f"{', '.join(spans)} of {read.blocks} ({read.why})"] if spans else [read.why] if read.why else []
    if read.stopped is not None:
        parts.append(f"time was up at block {read.stopped} of {read.blocks}")
    return "; ".join(parts)


def _size(evidence: Evidence) -> str:
    expected = evidence.expected_size
    text = f"{evidence.read.size:,} bytes ({size(evidence.read.size)})"
    return text if expected in (None, evidence.read.size) else f"{text}, but it should be {expected:,}"


def _read(read: ImageRead) -> str:
    rate = f", {read.size / 1e6 / read.seconds:,.0f} MB/s" if read.sha256 and read.seconds > 0 else ""
    return f"{'all' if read.sha256 else 'not all'} of it in {read.seconds:.1f} s{rate}"


def _space(path: str, free: int, inodes: int | None) -> str:
    return f"{path}: {size(free)}" + ("" if inodes is None else f" and {inodes:,} inodes") + " free"
