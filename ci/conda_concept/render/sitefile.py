"""A site file's text: every setting below the words that say where its value comes from."""

import json
import textwrap

from conda_concept.siting import Draft, Setting, Value

_WIDTH = 118
_HEAD = """\
One machine's settings, written by `conda-concept site init`. Look at every line that says "assumed"; then
`conda-concept site check` tries the whole path and says what is wrong. No other file holds a path of this machine."""
_FOOT = """\
How builds are run: in place, unless an `executor:` says otherwise. ci/README.md has all settings."""


def site_file(draft: Draft) -> str:
    """The file's text."""
    parts = [_comment(_HEAD), "".join(_comment(line, first="# found: ", rest="#   ") for line in draft.about)]
    if draft.missing:
        parts.append("".join(_comment(line, first="# missing: ", rest="#   ") for line in draft.missing))
    parts += [_setting(setting) for setting in draft.settings]
    return "\n".join([*parts, _comment(_FOOT)])


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
    """A plain word as it is; what YAML could take for something else in JSON's quotes, which are YAML's too."""
    text = str(value)
    plain = isinstance(value, str) and text.replace("/", "a").replace("_", "a").replace("-", "a").replace(".", "a")
    if plain and plain.isascii() and plain.isalnum() and text[0] in _FIRST and text.lower() not in _WORDS:
        return text
    return text if isinstance(value, int) else json.dumps(text, ensure_ascii=False)


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
