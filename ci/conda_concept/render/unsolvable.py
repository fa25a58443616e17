"""Why there is no solution, as a comment and as JSON. The solver's own text is kept, folded."""

import json

from conda_concept.explain import Explanation
from conda_concept.render.diff import Heading, noted
from conda_concept.render.quote import code, markdown

#: The solver's text can be long; what matters of it stands at its start.
SOLVER_TEXT = 20_000


def comment(heading: Heading, explanation: Explanation) -> str:
    """The comment for a spec without a solution: the cause, where it was asked for, what would work."""
    parts = [f"### {markdown(heading.label)}: cannot be solved", ticked(_sentence(explanation.cause))]
    if heading.notes:
        parts.append(noted(heading.notes))
    if explanation.culprits:
        rows = "\n".join(f"- {code(request.text)} in {code(str(request.place))}" for request in explanation.culprits)
        parts.append(f"**Asked for**\n\n{rows}")
    if explanation.remedies:
        rows = "\n".join(f"- {ticked(text)}" for text in explanation.remedies)
        parts.append(f"**What would work** (each was tried by itself)\n\n{rows}")
    elif explanation.complete:
        parts.append("No single change of one of these requests makes it solvable.")
    else:
        parts.append("The time for trying changes was over before one was found.")
    parts.append(_folded(explanation.solver_text[:SOLVER_TEXT]))
    if heading.commit:
        parts.append(f"<sub>commit {code(heading.commit[:12])}</sub>")
    return "\n\n".join(parts) + "\n"


def as_json(heading: Heading, explanation: Explanation) -> str:
    """The explanation for programs."""
    return json.dumps(
        {
            "label": heading.label,
            "cause": explanation.cause,
            "culprits": [
                {"text": request.text, "name": request.name, "file": request.place.file, "line": request.place.line}
                for request in explanation.culprits
            ],
            "remedies": list(explanation.remedies),
            "complete": explanation.complete,
            "solver_text": explanation.solver_text,
        },
        indent=2,
        ensure_ascii=False,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def ticked(text: str) -> str:
    """Text whose `ticked` parts become code spans; the rest is shown as it is."""
    return "".join(code(part) if index % 2 else _plain(part) for index, part in enumerate(text.split("`")))


def _plain(text: str) -> str:
    """Markdown of a part of a line that keeps the blanks at both ends. It never stands where a line starts."""
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before[:1]}{markdown(f'x{text.strip()}')[1:]}{after[:1]}" if text.strip() else text[:1]


def _folded(text: str) -> str:
    longest = max((len(run) for run in text.split("\n") if set(run) == {"`"}), default=2)
    fence = "`" * (max(longest, 2) + 1)
    return f"<details><summary>What the solver says</summary>\n\n{fence}text\n{text.strip()}\n{fence}\n\n</details>"
