"""A plot of how each step grows: seconds against the size, both axes logarithmic, as a hand-written SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 460, 70, 190, 30, 50
#: Okabe and Ito's, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#888888")

Series = Mapping[str, Sequence[tuple[float, float]]]


def svg(series: Series, title: str, across: str, up: str) -> str:
    """The plot. Points with a value of 0 are left out; a dashed line shows what grows in proportion to the size."""
    points = [(x, y) for values in series.values() for x, y in values if x > 0 and y > 0]
    frame = _Frame(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/><g font-size="12">',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *frame.grid(),
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>',
        f'<text transform="translate(16 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>',
        frame.proportion(points),
    ]
    lines = [
        (frame.place(*values[-1])[1], name, [frame.place(x, y) for x, y in values if x > 0 and y > 0])
        for name, values in series.items()
        if values and min(values[-1]) > 0
    ]
    height = 0.0
    # From the top line to the bottom one, so that the names stand in the order of the lines.
    for number, (end, name, placed) in enumerate(sorted(lines)):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes = ' stroke-dasharray="8 3"' if number >= len(_COLOURS) else ""
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
        height = max(end, height + 14)
        parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{height + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</g></svg>\n"])


class _Frame:
    """From values to places, over whole decades."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        xs, ys = [x for x, _ in points] or [1.0], [y for _, y in points] or [1.0]
        self.x0, self.x1 = math.log10(min(xs)) - 0.1, math.log10(max(xs)) + 0.1
        self.y0, self.y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        self.xs = sorted(set(xs))

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - self.x0) / (self.x1 - self.x0)
        up = (math.log10(y) - self.y0) / max(1, self.y1 - self.y0)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> list[str]:
        """Lines at the sizes and at the decades."""
        parts = []
        for x in self.xs:
            at = self.place(x, 10.0**self.y0)[0]
            parts.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
            parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:g} %</text>')
        for decade in range(self.y0, self.y1 + 1):
            at = self.place(self.xs[0], 10.0**decade)[1]
            parts.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
        return parts

    def proportion(self, points: Sequence[tuple[float, float]]) -> str:
        """What grows like the size, through the middle of the picture."""
        top = max(y for _, y in points)
        ends = [(x, max(10.0**self.y0, top / 3 * x / self.xs[-1])) for x in (self.xs[0], self.xs[-1])]
        (x1, y1), (x2, y2) = (self.place(x, y) for x, y in ends)
        line = f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#999" stroke-dasharray="6 4"/>'
        return f'{line}<text x="{x2 - 4:.1f}" y="{y2 + 32:.1f}" text-anchor="end" fill="#777">in proportion</text>'
