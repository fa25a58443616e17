"""site init: look at this machine and write a site file for it, with the reason for every line."""

from dataclasses import dataclass
from pathlib import Path

from conda_concept.document import SourceText
from conda_concept.errors import RefusedError
from conda_concept.looking import Host, look
from conda_concept.machine import Machine
from conda_concept.render.sitefile import site_file
from conda_concept.site import read_site
from conda_concept.siting import Draft, Wishes, draft
from conda_concept.steps.lock import replace_file


@dataclass(frozen=True, slots=True)
class Proposed:
    """What was found, what it means, and the text."""

    machine: Machine
    draft: Draft
    text: str

    @property
    def name(self) -> str:
        """The site's name."""
        return next(str(setting.value) for setting in self.draft.settings if setting.key == "name")

    @property
    def assumed(self) -> tuple[str, ...]:
        """The settings that somebody has to look at."""
        marked = (setting for setting in self.draft.settings if any("assumed:" in word for word in setting.why))
        offered = any("assumed" in line.why for line in self.draft.executor)
        return (*(setting.key for setting in marked), *(("executor",) if offered else ()))


def propose(host: Host, wishes: Wishes) -> Proposed:
    """The site file for a machine; our own parser has read it. `InputError` where a wish is not fit for it."""
    machine = look(host)
    made = draft(machine, wishes)
    text = site_file(made)
    read_site(SourceText("the new site file", text), None)
    return Proposed(machine, made, text)


def write(proposed: Proposed, path: Path, *, force: bool) -> None:
    """Put the text into a file, whole or not at all. A file that is there already is somebody's work: refused."""
    if path.exists() and not force:
        raise RefusedError(
            f"{path} is there already; people write in site files, so it is left as it is.",
            hint="Compare with `--output FILE`, or write over it with --force.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, proposed.text)
