"""What the check of a site says on a terminal: a table of stages, then what to mend."""

import textwrap

from tabulate import tabulate

from conda_concept.checkup import Checked, Stage

_MARKS = {"ok": "✓", "warning": "!", "wrong": "✗", "not tried": "–"}
_WIDTH = 84


def checked_text(checked: Checked) -> str:
    """Stages with verdict, seconds and what was found; below them what is wrong and how to mend it."""
    rows = [(stage.name, stage.verdict, f"{stage.seconds:.1f}", _found(stage)) for stage in checked.stages]
    table = tabulate(rows, headers=("step", "verdict", "seconds", "found"), disable_numparse=True)
    parts = [table, *(_mend(stage) for stage in checked.stages)]
    seconds = sum(stage.seconds for stage in checked.stages)
    warnings = sum(stage.verdict == "warning" for stage in checked.stages)
    counts = [f"{checked.wrong} wrong" if checked.wrong else "nothing is wrong", f"{warnings} to look at"]
    parts.append(f"Site {checked.site}: {', '.join(counts)}, {seconds:.1f} s.")
    if checked.kept:
        parts.append(
            f"Kept: {checked.kept} (remove it by hand). As a user: {checked.kept}/apps/*/envs/check/bin/python3"
        )
    return "\n\n".join(part for part in parts if part)


def _found(stage: Stage) -> str:
    lines = []
    for one in stage.found:
        wrapped = textwrap.wrap(one.text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"{_MARKS[one.verdict]} {wrapped[0]}", *(f"  {line}" for line in wrapped[1:])]
    return "\n".join(lines)


def _mend(stage: Stage) -> str:
    """What to do about a stage; nothing for one that is as it should be."""
    todo = [one for one in stage.found if one.verdict in ("wrong", "warning") and (one.mend or one.verdict == "wrong")]
    lines = ((_MARKS[one.verdict], textwrap.shorten(one.text, _WIDTH, placeholder=" …"), one.mend) for one in todo)
    return "\n".join(f"{mark} {stage.name}: {text}\n    -> {mend}" for mark, text, mend in lines)
