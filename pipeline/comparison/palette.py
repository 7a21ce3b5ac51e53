"""How a row of the results table looks in every picture and chart: its colour, its mark, its dashes.

Eight hues after Okabe and Ito (2008). Their lightness was searched so that any two stay apart for the usual kinds of colour
blindness, too (simulated after Machado et al. 2009), on light and on dark paper. The shape of the mark changes from row to row,
so colour is never all that tells neighbours apart. Beyond eight rows a colour comes again with another shape and other dashes:
32 in all.
"""

LIGHT = ("#00219f", "#f35821", "#37a18e", "#551550", "#166993", "#7f480d", "#151011", "#b663f9")
"""On white: blue, vermilion, green, plum, steel blue, brown, black, violet."""
DARK = ("#3362d1", "#d91d01", "#24aa8a", "#90537f", "#7acff7", "#fcbd30", "#f5f5f5", "#b180fc")
"""The same hues on dark paper, in the same order."""
SHAPES = ("circle", "square", "triangle", "diamond")
DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
"""Lengths of strokes and gaps, in widths of a line of one point; none is a whole line."""

_MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}


def color_number(row: int) -> int:
    """Which of the colours the row has."""
    return row % len(LIGHT)


def dash_number(row: int) -> int:
    """Which of the dashes its line has."""
    return row // len(LIGHT) % len(DASHES)


def shape_of(row: int) -> str:
    """The shape of its mark."""
    return SHAPES[(row + row // len(LIGHT)) % len(SHAPES)]


def marker_of(row: int) -> str:
    """The same shape, as matplotlib calls it."""
    return _MARKERS[shape_of(row)]


def style_sheet() -> str:
    """The colours and dashes as classes `c0`, `c1`, ... and `dash1`, ... of the page."""
    light, dark = ("; ".join(f"--c{number}: {color}" for number, color in enumerate(colors)) for colors in (LIGHT, DARK))
    return "\n".join(
        [
            f":root {{ {light}; }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}; }} }}",
            *(f".c{number} {{ color: var(--c{number}); }}" for number in range(len(LIGHT))),
            *(
                f".dash{number} :is(polyline, line:only-of-type) {{ stroke-dasharray: {' '.join(map(str, dashes))}; }}"
                for number, dashes in enumerate(DASHES)
                if dashes
            ),
        ]
    )
