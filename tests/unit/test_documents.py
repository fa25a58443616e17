"""README.md and ci/README.md say only what is true: each command can be parsed, each link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from conda_concept import cli
from conda_concept.settings import Site

TOP = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "ci/README.md")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
#: What a shell would put between two commands.
_BETWEEN = {"&&", "||", "|", ";", "&"}


def blocks(text: str) -> list[str]:
    """The code blocks for a shell."""
    return re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spoken(text: str) -> list[str]:
    """Commands within sentences and tables: `conda-concept doctor --site NAME`, without alternatives in brackets."""
    found = re.findall(r"`(conda-concept [^`]+)`", text)
    return [one for one in found if "…" not in one and "[" not in one]


def commands(line: str) -> list[list[str]]:
    """The `conda-concept …` commands of a line of shell, without comments."""
    found: list[list[str]] = []
    current: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in _BETWEEN:
            if current[:1] == ["conda-concept"]:
                found.append(current[1:])
            current = []
        else:
            current.append(word)
    return found


def every_command() -> list[tuple[str, str]]:
    found = []
    for name in DOCUMENTS:
        text = (TOP / name).read_text("utf-8")
        lines = [line for block in blocks(text) for line in block.splitlines()] + spoken(text)
        found += [(name, shlex.join(words)) for line in dict.fromkeys(lines) for words in commands(line)]
    return found


@pytest.mark.parametrize(("document", "command"), every_command())
def test_each_command_is_one_that_the_program_takes(document: str, command: str) -> None:
    words = shlex.split(command)
    # A sentence may speak of a command without saying what it works on.
    asks_for_help = words[-1:] in (["--help"], ["--version"])
    bare = f"`conda-concept {command}`" in (TOP / document).read_text("utf-8") and len(words) == 1
    status = ends([*words, "--help"] if bare else words)
    assert status == (0 if bare or asks_for_help else None), f"{document}: conda-concept {command}"


def ends(words: list[str]) -> object:
    """How the program ends while it reads these words; None: it goes on to do them."""
    try:
        cli.parser().parse_args(words)
    except SystemExit as end:
        return end.code
    return None


def test_a_wrong_command_would_be_seen() -> None:
    assert commands("cd x && conda-concept check # all") == [["check"]]
    assert ends(["site", "chekc"]) == 2
    assert ends(["lock"]) == 2
    assert {"README.md", "ci/README.md"} == {name for name, _ in every_command()}


def anchor(heading: str) -> str:
    """GitHub's own rule: lower case, no punctuation, hyphens for spaces."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_relative_link_leads_somewhere(document: str) -> None:
    path = TOP / document
    text = path.read_text("utf-8")
    targets = [first or second for first, second in _LINK.findall(text)]
    assert targets
    for target in targets:
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, part = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{document}: {target}"
        if part:
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert part in {anchor(heading) for heading in headings}, f"{document}: {target}"


def test_the_guide_names_every_setting_of_a_site() -> None:
    text = (TOP / "ci/README.md").read_text("utf-8")
    missing = [name for name in Site.model_fields if f"`{name}`" not in text]
    assert missing == []
