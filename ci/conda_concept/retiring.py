"""Versions that go away: who is told until when, and what is taken away after that day. Pure decisions.

A version's day is announced in the main branch's `config.yml` (`retire: {"23.07": 2027-01-31}`). Until its end, loading
the module says so. After it the names go; the release itself stays for the site's grace period, since a job may still
be running in it, and then `prune` removes it. Nothing is built anew to retire a version, however old it is.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from conda_concept.model import Event, Move
from conda_concept.operations import AppendEvent, DropAlias, DropModule, DropNotice, SetNotice, StoreState, Switch
from conda_concept.plan import untold
from conda_concept.record import LABEL
from conda_concept.settings import Config


@dataclass(frozen=True, slots=True)
class Retiring:
    """What a decision rests on: the configs of the main branch, and the day that it is at the site."""

    state: StoreState
    configs: Mapping[str, Config]
    today: dt.date
    product: str

    @property
    def days(self) -> dict[str, dt.date]:
        """The last day of each label that is announced."""
        return {
            f"{name}-{version}": day for name, config in self.configs.items() for version, day in config.retire.items()
        }

    @property
    def over(self) -> frozenset[str]:
        """The labels whose last day is past, and that no moving name means: those may go."""
        held = {alias.target for alias in self.state.aliases if not LABEL.fullmatch(alias.name)}
        return frozenset(label for label, day in self.days.items() if day < self.today and label not in held)

    @property
    def held(self) -> tuple[str, ...]:
        """Sentences about labels whose day is past and that a moving name still means: they stay."""
        moving = [alias for alias in self.state.aliases if not LABEL.fullmatch(alias.name)]
        return tuple(
            f"{alias.target} was to go after {self.days[alias.target]}, and `{alias.name}` means it still: it stays."
            for alias in moving
            if self.days.get(alias.target, self.today) < self.today
        )

    def operations(self, event: Event) -> tuple[Switch, ...]:
        """Notices that are to appear, change or go; then the names of what is over, each module before its alias."""
        operations: list[Switch] = []
        labels = {alias.name: alias.target for alias in self.state.aliases if LABEL.fullmatch(alias.name)}
        over = self.over
        wanted = {label: self._text(label, day) for label, day in self.days.items() if label in labels.keys() - over}
        for label, text in sorted(wanted.items()):
            if self.state.notices.get(label) != text:
                operations.append(SetNotice(label, text, self.state.notices.get(label)))
        gone = sorted(over & labels.keys())
        operations += [DropModule(label, self.state.modules[label]) for label in gone if label in self.state.modules]
        moves = tuple(Move(label, labels[label], "") for label in gone)
        operations += [DropAlias(move) for move in moves]
        # A run that ended after it had taken names away, and before it wrote that down: their grace begins now.
        moves += tuple(move for move in untold(self.state) if LABEL.fullmatch(move.alias) and not move.after)
        operations += [
            DropNotice(label, text) for label, text in sorted(self.state.notices.items()) if label not in wanted
        ]
        if moves:
            operations.append(AppendEvent(replace(event, moves=moves)))
        return tuple(operations)

    def _text(self, label: str, day: dt.date) -> str:
        environment = label.partition("-")[0]
        config = self.configs[environment]
        contact = f" Questions: {' '.join(config.contact.split())}." if config.contact else ""
        return (
            f"{label} goes away after {day:%d %B %Y}. Its lock stays on GitHub; newer versions are shown by "
            f"`module avail {self.product}/{environment}`.{contact}\n"
        )
