from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.comparison.plots import DARK, DASHES, LIGHT, color_number, dash_number, marker_of, shape_of, style_sheet

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SEEN_BY = {
    "most": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
PAPERS = {"light": (LIGHT, "#ffffff"), "dark": (DARK, "#14181d")}
Floats = NDArray[np.float64]


def linear(color: str) -> Floats:
    share = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(rgb: Floats) -> Floats:
    """Ottosson (2020)."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    mixed = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return mixed @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("eyes", SEEN_BY)
def test_any_two_colours_stay_apart_for_every_eye(paper: str, eyes: str) -> None:
    colors, _ = PAPERS[paper]
    assert len({*colors}) == len(LIGHT) == len(DARK)
    seen = [oklab(np.array(SEEN_BY[eyes]) @ linear(color)) for color in colors]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) > 0.13  # Okabe and Ito's: 0.076


@pytest.mark.parametrize("paper", PAPERS)
def test_every_colour_stands_out_from_its_paper(paper: str) -> None:
    colors, background = PAPERS[paper]
    for color in colors:
        darker, brighter = sorted((luminance(color), luminance(background)))
        assert (brighter + 0.05) / (darker + 0.05) >= 3, "as WCAG asks of graphics"


def test_rows_look_different_and_neighbours_differ_in_shape_too() -> None:
    looks = [(color_number(row), dash_number(row), shape_of(row)) for row in range(32)]
    assert len({*looks}) == 32
    assert len({(color, shape) for color, _, shape in looks}) == 32
    assert all(marker_of(row) != marker_of(row + 1) for row in range(40))


def test_the_page_has_the_colours_of_the_pictures() -> None:
    text = style_sheet()
    assert all(f"--c{number}: {color}" in text for colors in (LIGHT, DARK) for number, color in enumerate(colors))
    assert text.count("stroke-dasharray") == len(DASHES) - 1
