"""Charts as SVG, without a library: bars in groups, and lines over an axis."""

import math
import pathlib
from html import escape

COLORS = ["#1b6ca8", "#d1783c", "#5c9e54", "#8a63a6", "#b2475a", "#6f6f6f"]


def color_of(index):
    return COLORS[index % len(COLORS)]


def write(path, width, height, title, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            ' font-family="sans-serif" font-size="11">\n'
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>\n'
            f'<text x="8" y="18" font-size="14">{escape(title)}</text>')
    pathlib.Path(path).write_text("\n".join([head, *parts, "</svg>\n"]), encoding="utf-8")


def legend(names, left):
    """Its parts, and where it ends."""
    parts, x = [], left
    for index, name in enumerate(names):
        parts += [f'<rect x="{x}" y="28" width="10" height="10" fill="{color_of(index)}"/>',
                  f'<text x="{x + 14}" y="37">{escape(name)}</text>']
        x += 30 + 7 * len(name)
    return parts, x


def write_bars(path, title, names, groups):
    """groups: (label, scale, [(value or None, text)]) with a bar for each name; `scale` is the
    value of a bar of full length, since groups may measure different things."""
    left, width, line = 250, 480, 17
    parts, y = [], 52
    for label, scale, bars in groups:
        parts.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>')
        for index, (value, text) in enumerate(bars):
            if value:
                long = value * width / scale
                parts += [f'<rect x="{left}" y="{y}" width="{long:.1f}" height="14"'
                          f' fill="{color_of(index)}"/>',
                          f'<text x="{left + long + 4:.1f}" y="{y + 11}">{escape(text)}</text>']
            else:
                parts.append(f'<text x="{left + 4}" y="{y + 11}">-</text>')
            y += line
        y += 8
    names_parts, end = legend(names, left)
    write(path, max(left + width + 160, end), y + 8, title, names_parts + parts)


def round_steps(most, count):
    """About `count` round numbers from 0 to at least `most`."""
    step = 10 ** math.floor(math.log10(most / count))
    step *= next(f for f in (1, 2, 5, 10) if f * step * count >= most)
    return [i * step for i in range(math.ceil(most / step - 1e-9) + 1)]


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def write_lines(path, title, x_label, y_label, series, log_x=False, y_most=None):
    """series: {name: [(x, y)]}. log_x: each doubling of x takes the same width. Values above y_most
    are drawn at the upper border."""
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError("a chart without points")
    left, top, width, height = 70, 56, 560, 300
    highest = y_most or max(y for _, y in points) or 1
    rows = round_steps(highest, 5)
    xs = sorted({x for x, _ in points})
    place = (lambda x: math.log2(max(x, 1))) if log_x else (lambda x: x)
    low, span = place(xs[0]), (place(xs[-1]) - place(xs[0])) or 1

    def at(x, y):
        return (left + width * (place(x) - low) / span,
                top + height * (1 - min(y, rows[-1]) / rows[-1]))

    parts, end = legend(list(series), left)
    for row in rows:
        y = at(xs[0], row)[1]
        parts += [f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"'
                  ' stroke="#dddddd"/>',
                  f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(row)}</text>']
    columns = xs if log_x and len(xs) <= 12 else [x for x in round_steps(xs[-1], 6)
                                                   if xs[0] <= x <= xs[-1]]
    for x in columns:
        parts.append(f'<text x="{at(x, 0)[0]:.1f}" y="{top + height + 16}" text-anchor="middle">'
                     f"{short(x)}</text>")
    for index, line in enumerate(series.values()):
        path_points = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in sorted(line))
        parts.append(f'<polyline points="{path_points}" fill="none" stroke="{color_of(index)}"'
                     ' stroke-width="2"/>')
    parts += [f'<text x="{left + width / 2:.0f}" y="{top + height + 34}" text-anchor="middle">'
              f"{escape(x_label)}</text>",
              f'<text x="8" y="{top - 8}">{escape(y_label)}</text>']
    write(path, max(left + width + 40, end), top + height + 46, title, parts)
