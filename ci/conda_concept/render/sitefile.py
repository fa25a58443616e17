"""A site file's text: every setting below the words that say where its value comes from."""

import textwrap

from conda_concept.batch import Offered
from conda_concept.machine import FileSystem, Machine
from conda_concept.siting import Draft, Setting, Value, free

_WIDTH = 118
_HEAD = """\
One machine's settings, written by `conda-concept site init`. Look at every line that says "assumed"; then
`conda-concept site check` tries the whole path and says what is wrong. No other file holds a path of this machine."""


def site_file(draft: Draft) -> str:
    """The file's text."""
    parts = [_comment(_HEAD), "".join(_comment(line, first="# found: ", rest="#   ") for line in about(draft.machine))]
    if draft.missing:
        parts.append("".join(_comment(line, first="# missing: ", rest="#   ") for line in draft.missing))
    parts += [_setting(setting) for setting in draft.settings]
    return "\n".join([*parts, _executor(draft)])


def about(machine: Machine) -> tuple[str, ...]:
    """The machine in a few lines."""
    account = machine.account
    lines = [
        f"{machine.host}: {machine.system}, Linux {machine.kernel}, {machine.cpus} CPUs for this process",
        f"account {account.name}, groups {', '.join(account.groups)}, umask {account.umask:03o}",
    ]
    lines += [f"{one.kind} {one.version} ({one.init})" for one in machine.modules] or ["no module system"]
    lines += [
        f"{one.version} ({one.program}), {'set-uid' if one.setuid else 'without set-uid'}" for one in machine.containers
    ] or ["no Apptainer or Singularity"]
    lines.append(f"user namespaces: {machine.no_namespaces or 'work'}")
    lines.append(f"/dev/fuse: {'can be opened' if machine.fuse else 'cannot be opened by this account'}")
    lines.append(_scheduler(machine))
    lines += [_disk(one) for one in machine.file_systems]
    if machine.mpi is not None:
        lines.append(
            f"{machine.mpi.version or 'MPI'} ({machine.mpi.program}, libraries in {machine.mpi.libraries or '?'})"
        )
    return tuple(lines)


def _scheduler(machine: Machine) -> str:
    one = machine.scheduler
    if one is None:
        return "no scheduler"
    queues = f", queues {', '.join(one.queues)}" if one.queues else ", which did not name its queues"
    return f"{one.kind} {one.version}".rstrip() + f" ({', '.join(one.programs)}){queues}"


def _disk(one: FileSystem) -> str:
    kind = "shared" if one.mount.shared else "local"
    return f"{one.mount.path}: {one.mount.type}, {kind}{', writable' if one.writable else ''}, {free(one)[:-1]}"


def _executor(draft: Draft) -> str:
    """How builds are run. Never switched on by us: queues, sizes and projects are for people to choose."""
    one = draft.machine.scheduler
    if one is None:
        return _comment("found: no scheduler, so builds and tests run in place, as they do without an `executor:`.")
    words = f"Builds and tests run in place. found: {one.kind}; to let them be its jobs (ci/README.md), look at this:"
    return _comment(words) + "# executor:\n" + "".join(_offered(line) for line in draft.executor)


def _offered(line: Offered) -> str:
    words = _comment(line.why, first="#   # ", rest="#   # ") if line.why else ""
    match line.value:
        case None:
            return words
        case str() | int():
            return f"{words}#   {line.key}: {_scalar(line.value)}\n"
        case _:
            pairs = ", ".join(f"{key}: {_scalar(item)}" for key, item in line.value.items())
            return f"{words}#   {line.key}: {{{pairs}}}\n"


def _setting(setting: Setting) -> str:
    words = "".join(_comment(line) for line in setting.why)
    return words + ("" if setting.value is None else f"{setting.key}:{_value(setting.value)}\n")


def _value(value: Value) -> str:
    match value:
        case tuple():
            return _items([f"- {_scalar(item)}" for item in value]) if value else " []"
        case dict():
            return _items([f"{_scalar(key)}: {_scalar(item)}" for key, item in value.items()])
        case _:
            return f" {_scalar(value)}"


def _items(lines: list[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)


def _scalar(value: str | int | None) -> str:
    """A plain word as it is; what YAML could take for something else in double quotes."""
    text = str(value)
    plain = isinstance(value, str) and text.replace("/", "a").replace("_", "a").replace("-", "a").replace(".", "a")
    if plain and plain.isascii() and plain.isalnum() and text[0] in _FIRST and text.lower() not in _WORDS:
        return text
    return text if isinstance(value, int) else f'"{"".join(_escaped(letter) for letter in text)}"'


def _escaped(letter: str) -> str:
    """A letter within YAML's double quotes: what could not be seen, or would end them, by its number."""
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"


#: What a word may begin with and still be a word: no number, no sign.
_FIRST = frozenset("/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})


def _comment(text: str, first: str = "# ", rest: str = "# ") -> str:
    clean = "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in text.split("\n"))
    lines = [
        wrapped
        for line in clean.split("\n")
        for wrapped in textwrap.wrap(line, _WIDTH - len(first), break_long_words=False, break_on_hyphens=False)
    ]
    return "".join(f"{first if number == 0 else rest}{line}\n" for number, line in enumerate(lines))
