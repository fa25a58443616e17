"""What a whole path came to: a table of what was made and how long each step took, and what to type next."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from conda_concept.model import ReleaseRecord
from conda_concept.render.data import plain

#: A step and its seconds.
Steps = Sequence[tuple[str, float]]


def text(record: ReleaseRecord, steps: Steps, written: Sequence[str], lines: Sequence[str]) -> str:
    """For a terminal; `written` are the comments' files, `lines` what a user types."""
    made = [
        ("release", str(record.release)),
        ("packages", f"{record.packages:,}"),
        ("files inside", f"{record.image.files:,}"),
        ("installed size", f"{record.image.content_size / 1e6:,.1f} MB"),
        ("image", f"{record.image.size / 1e6:,.1f} MB"),
        ("sha256", record.image.sha256),
    ]
    took = [*((name, f"{seconds:.1f}") for name, seconds in steps), ("in all", f"{sum(s for _, s in steps):.1f}")]
    parts = [
        tabulate(made, tablefmt="simple", disable_numparse=True),
        tabulate(took, headers=("step", "seconds"), colalign=("left", "right"), disable_numparse=True),
        "comments:\n" + "\n".join(f"  {path}" for path in written),
        "to use it:\n" + "\n".join(f"  {line}" for line in lines),
    ]
    return "\n\n".join(parts)


def as_data(record: ReleaseRecord, steps: Steps, written: Sequence[str], lines: Sequence[str]) -> dict[str, Any]:
    """For programs."""
    return {
        "record": plain(record) | {"files": len(record.files)},
        "steps": [{"step": name, "seconds": round(seconds, 3)} for name, seconds in steps],
        "comments": list(written),
        "lines": list(lines),
    }
