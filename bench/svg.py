# SPDX-License-Identifier: Apache-2.0
"""Draws time series as SVG: stacked panels, each with its own axis."""

import dataclasses
import html
import math

WIDTH, LEFT, RIGHT = 1000, 90, 24
HEAD, FOOT = 76, 44
PANEL, GAP, TITLE = 120, 30, 26  # heights: of the plot, below it, above it
TICKS_Y, TICKS_X = 4, 10
COLORS = ("one", "two", "three")  # classes of the style, which has other colors for a dark background
STYLE = """
text { font: 13px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #444 }
.title { font-size: 18px; font-weight: 600; fill: #111 }
.panel { font-size: 14px; font-weight: 600; fill: #111 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
.grid { stroke: #e4e4e4 } .axis { stroke: #888 }
.bound { stroke: #b00020; stroke-dasharray: 6 4 } .mark { stroke: #bbb }
.bound-text { fill: #b00020 }
.back { fill: #fff } .one { stroke: #1f5fbf } .two { stroke: #c2500c } .three { stroke: #2f7d32 }
@media (prefers-color-scheme: dark) {
text { fill: #b8c0c8 } .title, .panel { fill: #e6edf3 } .back { fill: #0d1117 }
.grid { stroke: #2a3038 } .axis { stroke: #767e87 } .mark { stroke: #4a525b }
.bound { stroke: #ff7b72 } .bound-text { fill: #ff7b72 }
.one { stroke: #6cb0ff } .two { stroke: #f0883e } .three { stroke: #56d364 }
}"""


@dataclasses.dataclass
class Panel:
    """lines: label → [(x, y)]; y is None where there is no value. bound: an upper bound and its label. marks: the xs of
    events and their label."""
    title: str
    unit: str
    lines: dict
    bound: tuple = None
    marks: tuple = None


def step(span, ticks):
    """Returns a round step: 1, 2 or 5 times a power of ten."""
    raw = span / ticks
    power = 10 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def ticks_of(top, ticks):
    each = step(top, ticks)
    return [each * i for i in range(math.ceil(top / each - 0.001) + 1)]


def text(x, y, content, anchor="start", kind=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{kind}">{html.escape(content)}</text>'


def stroke(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def path(points, color):
    """Draws a line with gaps where there is no value."""
    words, down = [], False
    for x, y in points:
        if y is not None:
            words.append(f"{'L' if down else 'M'}{x:.1f} {y:.1f}")
        down = y is not None
    return f'<path class="line {color}" d="{" ".join(words)}"/>'


def legend(panel, y):
    """Draws the legend above the plot, from right to left."""
    x = WIDTH - RIGHT
    entries = [(label, f'class="{color}" stroke-width="3"') for label, color in zip(panel.lines, COLORS)]
    if panel.marks:
        entries.append((panel.marks[1], 'class="mark"'))
    for label, look in reversed(entries if len(entries) > 1 else []):
        yield text(x, y, label, "end")
        x -= 7.5 * len(label) + 8
        yield f'<line x1="{x - 20:.0f}" y1="{y - 4}" x2="{x:.0f}" y2="{y - 4}" {look}/>'
        x -= 40


def draw_panel(panel, top, x_of):
    values = [y for points in panel.lines.values() for _, y in points if y is not None]
    greatest = max([*values, panel.bound[0] if panel.bound else 0]) or 1
    ticks = ticks_of(greatest, TICKS_Y)
    bottom = top + PANEL

    def y_of(value):
        return bottom - PANEL * value / ticks[-1]

    yield text(LEFT, top - 10, f"{panel.title} ({panel.unit})", kind="panel")
    yield from legend(panel, top - 10)
    for value in ticks:
        yield stroke(LEFT, y_of(value), WIDTH - RIGHT, y_of(value), "grid" if value else "axis")
        yield text(LEFT - 8, y_of(value) + 4, f"{value:,.10g}", "end")
    for x in panel.marks[0] if panel.marks else ():
        yield stroke(x_of(x), top, x_of(x), bottom, "mark")
    if panel.bound:
        yield stroke(LEFT, y_of(panel.bound[0]), WIDTH - RIGHT, y_of(panel.bound[0]), "bound")
        yield text(LEFT + 6, y_of(panel.bound[0]) + 15, panel.bound[1], kind="bound-text")
    for color, points in zip(COLORS, panel.lines.values()):
        yield path([(x_of(x), None if y is None else y_of(y)) for x, y in points], color)


def draw(title, subtitle, x_title, panels):
    """Draws all panels. x starts at 0."""
    last = max(x for panel in panels for points in panel.lines.values() for x, _ in points)
    height = HEAD + len(panels) * (TITLE + PANEL + GAP) + FOOT

    def x_of(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
             f'height="{height}"><style>{STYLE}</style><rect width="100%" height="100%" class="back"/>',
             text(LEFT, 30, title, kind="title"), text(LEFT, 52, subtitle)]
    top = HEAD
    for panel in panels:
        parts += draw_panel(panel, top + TITLE, x_of)
        top += TITLE + PANEL + GAP
        for x in ticks_of(last, TICKS_X):
            if x <= last:
                parts += [stroke(x_of(x), top - GAP, x_of(x), top - GAP + 4, "axis"),
                          text(x_of(x), top - GAP + 18, f"{x:,.10g}", "middle")]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, top + 14, x_title, "middle"))
    return "\n".join([*parts, "</svg>", ""])
