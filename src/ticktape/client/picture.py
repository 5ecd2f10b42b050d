"""Bars as an SVG picture: candles over volume. No library, no window; a browser or any editor shows the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT = 1200, 600, 10, 1110
TOP, FLOOR, BOTTOM = 20, 440, 570  # of the candles, and of the volume under them
UP, DOWN, GROUND, INK = "#26a69a", "#ef5350", "#0b0e11", "#8a929b"


class Candle(NamedTuple):
    """One bar, in floats: a picture has some hundred points of height."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def svg(candles: Sequence[Candle], title: str, labels: Sequence[str]) -> str:
    """Return the picture; `labels` (n,) name the bars' times, of which first, middle and last are shown."""
    low, high = min(c.low for c in candles), max(c.high for c in candles)
    most, step = max(c.volume for c in candles) or 1.0, (RIGHT - LEFT) / len(candles)
    scale = (FLOOR - TOP) / ((high - low) or 1.0)
    begin = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="monospace" '
        f'font-size="13" fill="{INK}"><rect width="100%" height="100%" fill="{GROUND}"/>'
    )
    parts = [begin, f'<text x="{LEFT}" y="15">{escape(title)}</text>']
    for k, c in enumerate(candles):
        x, colour = LEFT + (k + 0.5) * step, UP if c.close >= c.open else DOWN
        top, end = FLOOR - (max(c.open, c.close) - low) * scale, FLOOR - (min(c.open, c.close) - low) * scale
        tall = c.volume / most * (BOTTOM - FLOOR - 20)
        parts.append(
            f'<path d="M{x:.1f} {FLOOR - (c.high - low) * scale:.1f}V{FLOOR - (c.low - low) * scale:.1f}" '
            f'stroke="{colour}"/><rect x="{x - step * 0.35:.1f}" y="{top:.1f}" width="{step * 0.7:.1f}" '
            f'height="{max(end - top, 1):.1f}" fill="{colour}"/><rect x="{x - step * 0.35:.1f}" '
            f'y="{BOTTOM - tall:.1f}" width="{step * 0.7:.1f}" height="{tall:.1f}" fill="{colour}" opacity="0.5"/>'
        )
    parts += [_text(RIGHT + 5, FLOOR - (value - low) * scale, f"{value:g}") for value in (low, (low + high) / 2, high)]
    shown = {0: LEFT, len(candles) // 2: (LEFT + RIGHT) / 2 - 80, len(candles) - 1: RIGHT - 160}
    parts += [_text(x, BOTTOM + 20, labels[k]) for k, x in shown.items()]
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'
