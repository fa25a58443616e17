"""What the files of the synthetic channel hold: Python that can be imported, machine code, texts, headers.

Everything comes out of pools that are made once from a seed, so ten gigabytes cost little more than copying them. The
pools are far longer than what a compressor looks back at (a squashfs block of 256 KiB, some megabytes in an archive),
so that a file is as hard to compress as the real kind. They were tuned against 120 real packages (numpy, scipy, pandas,
matplotlib, scikit-learn, jupyterlab, pyarrow and what those need, 10 GB's worth of one thousandth of a supercomputer's
environment) and this machine's own libraries: see RESULTS.md for the measured ratios beside these.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

SEED = 20_260_630

#: Bytes of each pool.
_POOL = 12 << 20
_PYTHON_POOL = 8 << 20
#: Different "instructions" of machine code.
_CODE_WORDS = 3000


@dataclass(frozen=True, slots=True)
class Ranges:
    """Slices of one pool, cut at random: no two files alike, all of one kind."""

    pool: bytes

    def pieces(self, size: int, rng: random.Random) -> Iterator[memoryview]:
        """Views that add up to `size` bytes."""
        view = memoryview(self.pool)
        while size > 0:
            start = rng.randrange(len(view) - 4096)
            piece = view[start : start + min(size, 1 << 22)]
            size -= len(piece)
            yield piece

    def take(self, size: int, rng: random.Random) -> bytes:
        """The same in one piece."""
        return b"".join(self.pieces(size, rng))


_HEADS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "qu",
    "r",
    "s",
    "st",
    "t",
    "v",
)


class Content:
    """The pools. Made at first use; a process that is forked afterwards has them too."""

    def prepare(self) -> None:
        """Make all pools now."""
        for pool in (self.machine_code, self.data, self.header, self.blocks):
            if not pool:
                raise AssertionError(pool)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Made-up words that look like identifiers and can be Python names."""
        rng = random.Random(SEED)
        heads = list(_HEADS)
        vowels, tails = (
            ["a", "e", "i", "o", "u", "ea", "io", "ou"],
            ["", "n", "r", "s", "t", "x", "ct", "nd", "st", "ble"],
        )
        made: dict[str, None] = {}
        while len(made) < 4000:
            parts = [rng.choice(heads) + rng.choice(vowels) for _ in range(rng.choice((2, 2, 3)))]
            made["".join(parts) + rng.choice(tails) + "_"[: rng.random() < 0.02]] = None
        return tuple(f"{word}_" if word in _KEYWORDS else word for word in made)

    @cached_property
    def machine_code(self) -> Ranges:
        """Short byte strings between repetitions of what came shortly before, symbol names, padding."""
        rng = random.Random(SEED + 1)
        words = [rng.randbytes(rng.choice((2, 3, 3, 4, 5, 7))) for _ in range(_CODE_WORDS)]
        weights = [1 / (rank + 3) for rank in range(_CODE_WORDS)]
        pool = bytearray()
        while len(pool) < _POOL:
            fresh = b"".join(rng.choices(words, weights, k=1400))
            pool += fresh
            for _ in range(400):
                start = rng.randrange(max(1, len(pool) - 30_000), len(pool))
                pool += pool[start : start + rng.randrange(8, 64)] + words[rng.randrange(_CODE_WORDS)]
            pool += "\0".join(self._names(rng, 60)).encode() + bytes(rng.randrange(700))
        return Ranges(bytes(pool[:_POOL]))

    @cached_property
    def data(self) -> Ranges:
        """Prose, tables of numbers, JSON, with pictures and packed arrays among them."""
        rng = random.Random(SEED + 2)
        pool = bytearray()
        while len(pool) < _POOL:
            kind = rng.random()
            if kind < 0.2:
                rows = (f"{rng.gauss(200, 3):.2f},{rng.randrange(40) / 4},{rng.randrange(9)},0\n" for _ in range(600))
                pool += "".join(rows).encode()
            elif kind < 0.87:
                pool += self._prose(rng, 8000)
            else:
                pool += rng.randbytes(10_000)
        return Ranges(bytes(pool[:_POOL]))

    @cached_property
    def header(self) -> Ranges:
        """Declarations as C headers have them."""
        rng = random.Random(SEED + 3)
        pool = bytearray()
        while len(pool) < _POOL // 4:
            first, second, third = self._names(rng, 3)
            for name in self._names(rng, rng.randrange(2, 12)):
                lines = f"/* {' '.join(self._names(rng, 3))} */\n#define {first}_{name} {rng.randrange(8)}\n"
                pool += f"{lines}extern int {first}_{name}(const struct {second} *{third}, size_t size);\n\n".encode()
        return Ranges(bytes(pool[: _POOL // 4]))

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Functions and classes, each whole: what Python files are put together from."""
        rng = random.Random(SEED + 4)
        found, size = [], 0
        while size < _PYTHON_POOL:
            text = self._class(rng) if rng.random() < 0.4 else self._function(rng, "")
            found.append(text)
            size += len(text)
        return tuple(found)

    def python(self, size: int, imports: Sequence[str], rng: random.Random) -> bytes:
        """A module of exactly `size` bytes (or the few more that `imports`, whole lines, need)."""
        head = [f'"""{" ".join(self._names(rng, 8))}."""\n', *(f"{line}\n" for line in imports)]
        parts, used = head, sum(map(len, head))
        if size < used + 40:
            parts, used = head[1:], used - len(head[0])
        blocks = self.blocks
        while used + 40 < size:
            text = blocks[rng.randrange(len(blocks))]
            if used + len(text) > size:
                break
            parts.append(text)
            used += len(text)
        data = "".join(parts).encode()
        return data + self._comment(size - len(data), rng) if size > len(data) else data

    def _comment(self, size: int, rng: random.Random) -> bytes:
        """Comment lines of exactly `size` bytes: what is left when no more block fits."""
        if size < 8:
            return b"\n" * size
        text = self._prose(rng, size).replace(b"\n", b" ")
        lines = b"\n# ".join(text[at : at + 97] for at in range(0, len(text), 97))
        return (b"# " + lines)[: size - 1].rstrip(b" #\n").ljust(size - 1, b".") + b"\n"

    def _names(self, rng: random.Random, count: int) -> list[str]:
        """Words, common ones more often."""
        words = self.words
        return [words[int(len(words) * rng.random() ** 5)] for _ in range(count)]

    def _prose(self, rng: random.Random, size: int) -> bytes:
        phrases = [" ".join(self._names(rng, 5)) for _ in range(1 + size // 120)]
        text = "".join(rng.choice(phrases) + rng.choice((".\n", ", ", "; ", " ")) for _ in range(1 + size // 12))
        return text[:size].encode().ljust(size, b" ")

    def _function(self, rng: random.Random, indent: str) -> str:
        near = self._names(rng, 6)  # code says the same few names again and again
        name, one, two, three, four = near[:5]
        arguments = ", ".join(dict.fromkeys((one, two)))
        own = f"{indent}def {name}_{three}({'self, ' if indent else ''}{arguments}=None):\n"
        body = [f'"""{" ".join(self._names(rng, rng.randrange(6, 60)))}."""'] if rng.random() < 0.7 else []
        for _ in range(rng.randrange(2, 14)):
            body += self._statement(rng, one, [*rng.choices(near, k=3), *self._names(rng, 1)])
        body.append(f"return {four if rng.random() < 0.1 else one}")
        return own + "".join(f"{indent}    {line}\n" for line in body) + "\n\n"

    def _statement(self, rng: random.Random, one: str, names: list[str]) -> list[str]:
        a, b, c, d = names
        match rng.randrange(9):
            case 0:
                return [
                    f"if {one} is None or {one}.{a} > {rng.randrange(100)}:",
                    f"    {b} = {c}({one}, {a}={rng.randrange(9)})",
                ]
            case 1:
                return [f"for {a} in {one}.{b}_{c}({d!r}):", f"    {one}.{c}[{a}] = {a}.{d}"]
            case 2:
                return [f"{a} = [{b}.{c} for {b} in {one} if {b}.{d} != {c!r}]"]
            case 3:
                return [
                    "try:",
                    f"    {a} = {one}.{b}({c!r}, {d}={rng.randrange(1000)})",
                    f"except ({b.title()}Error, KeyError):",
                    f"    {a} = None",
                ]
            case 4:
                return (
                    [f'raise ValueError(f"{" ".join(names)} {{{one}!r}} {" ".join(self._names(rng, 4))}")']
                    if rng.random() < 0.1
                    else [f"assert {one}.{a} is not {b}"]
                )
            case 5:
                return [f"{a} = {{{b!r}: {one}.{c}, {d!r}: {rng.random():.4f}}}"]
            case 6:
                return [f"# {' '.join(self._names(rng, 10))}", f"{one}.{a} = {b}({c}, {d}) + {rng.randrange(50)}"]
            case 7:
                return (
                    [f"return {a}.{b}({one}.{c}, {d}) if {one} else {a}({b})"]
                    if rng.random() < 0.2
                    else [f"{one}.{a}.{b}({c}={one}.{d})"]
                )
            case _:
                return [f"{a}, {b} = {one}.{c}({d})[:2]"]

    def _class(self, rng: random.Random) -> str:
        one, two = self._names(rng, 2)
        name = f"{one}{two}".title().replace("_", "")
        head = f'class {name}:\n    """{" ".join(self._names(rng, 20))}."""\n\n'
        fields = "".join(f"    {name} = {rng.randrange(1000)}\n" for name in dict.fromkeys(self._names(rng, 3)))
        methods = "".join(self._function(rng, "    ").rstrip("\n") + "\n\n" for _ in range(rng.randrange(1, 6)))
        return f"{head}{fields}\n{methods}\n"


_KEYWORDS = frozenset(
    (
        "and",
        "as",
        "assert",
        "break",
        "class",
        "def",
        "del",
        "for",
        "from",
        "if",
        "import",
        "in",
        "is",
        "not",
        "or",
        "pass",
        "try",
        "while",
        "with",
        "print",
        "lambda",
    )
)
