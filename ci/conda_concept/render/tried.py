"""What a whole path came to: a table of what was made and how long each step took, and what to type next."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from conda_concept.model import ReleaseRecord
from conda_concept.render.data import plain


def as_data(
    record: ReleaseRecord, steps: Sequence[tuple[str, float]], written: Sequence[str], lines: Sequence[str]
) -> dict[str, Any]:
    """The result as data; `steps` are names and seconds, `written` the comments' files, `lines` what a user types."""
    return {
        "record": plain(record) | {"files": len(record.files)},
        "steps": [{"step": name, "seconds": round(seconds, 3)} for name, seconds in steps],
        "comments": list(written),
        "lines": list(lines),
    }


def text(result: Mapping[str, Any]) -> str:
    """`as_data`'s result for a terminal."""
    record, image = result["record"], result["record"]["image"]
    made = [
        ("release", "{environment}-{version}/{build_id}".format(**record["release"])),
        ("packages", f"{record['packages']:,}"),
        ("files inside", f"{image['files']:,}"),
        ("installed size", f"{image['content_size'] / 1e6:,.1f} MB"),
        ("image", f"{image['size'] / 1e6:,.1f} MB"),
        ("sha256", image["sha256"]),
    ]
    took = [(step["step"], f"{step['seconds']:.1f}") for step in result["steps"]]
    took.append(("in all", f"{sum(step['seconds'] for step in result['steps']):.1f}"))
    parts = [
        tabulate(made, tablefmt="simple", disable_numparse=True),
        tabulate(took, headers=("step", "seconds"), colalign=("left", "right"), disable_numparse=True),
        "comments:\n" + "\n".join(f"  {path}" for path in result["comments"]),
        "to use it, as any user, in a new shell:\n" + "\n".join(f"  {line}" for line in result["lines"]),
    ]
    return "\n\n".join(parts)
