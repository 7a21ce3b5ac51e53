"""Korean is drawn where a font has its letters, and numbered, never boxed, where none has."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure

from pipeline import fonts as module
from pipeline.data.plots import draw_token_lengths
from pipeline.evaluation.plots import draw_confusion
from pipeline.fonts import find_fonts, warn_of_missing

NAMES = ["기쁨", "슬픔", "joy"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[font_manager.FontManager]:
    """A machine with matplotlib's own fonts alone, the font of last resort among them, and without the extra."""
    manager = font_manager.fontManager
    bundled = [entry for entry in manager.ttflist if "mpl-data" in entry.fname]
    assert any(entry.name.startswith("Last Resort") for entry in bundled)
    monkeypatch.setattr(manager, "ttflist", list(bundled))
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package")
    forget()
    yield manager
    forget()


def forget() -> None:
    module._find_fonts.cache_clear()
    module._add_packaged.cache_clear()


def make_font(path: Path, letters: str) -> Path:
    """A font whose every letter is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"uni{ord(letter):04X}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


def draw(figure: Figure) -> list[str]:
    """What matplotlib complains of while it draws: glyphs that are missing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(io.BytesIO(), format="png")
    return [str(warning.message) for warning in caught]


def confusion() -> Figure:
    return draw_confusion(np.array([0, 1, 2]), np.array([0, 1, 1]), NAMES, "감정 $x$")


def tick_labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_matplotlib_would_draw_boxes(machine: font_manager.FontManager) -> None:
    figure = Figure()
    figure.suptitle(NAMES[0])
    assert any("missing from font" in message for message in draw(figure)), "if not, all of this is no longer needed"


def test_letters_that_no_font_has_are_numbered_and_spelled_and_said(machine: font_manager.FontManager) -> None:
    figure = confusion()
    assert draw(figure) == []
    assert tick_labels(figure) == ["1", "2", "3"]
    assert "rows of per_class.csv" in figure.axes[0].get_ylabel()
    assert figure.axes[0].get_title() == "<U+AC10><U+C815> $x$"
    assert draw(draw_token_lengths({"train": np.array([3, 4])}, 8, "감정.csv")) == []
    warning = warn_of_missing(NAMES, "classes")
    assert warning is not None
    assert "letters of 2 classes" in warning
    assert "pip install no-such-package" in warning


def test_a_font_of_the_machine_that_has_the_letters_is_found(machine: font_manager.FontManager, tmp_path: Path) -> None:
    machine.addfont(make_font(tmp_path / "Squares.ttf", "기쁨슬픔감정"))
    fonts = find_fonts(NAMES)
    assert fonts.families[-1] == "Squares"
    assert not fonts.missing
    figure = confusion()
    assert draw(figure) == []
    assert tick_labels(figure) == NAMES
    assert figure.axes[0].get_title() == "감정 $x$"
    assert warn_of_missing(NAMES, "classes") is None


def test_several_fonts_help_each_other(machine: font_manager.FontManager, tmp_path: Path) -> None:
    machine.addfont(make_font(tmp_path / "First.ttf", "기쁨"))
    machine.addfont(make_font(tmp_path / "Second.ttf", "슬픔"))
    fonts = find_fonts(NAMES)
    assert set(fonts.families[-2:]) == {"First", "Second"}
    assert draw(draw_confusion(np.array([0]), np.array([0]), NAMES, "")) == []


def test_a_damaged_font_is_passed_over(machine: font_manager.FontManager, tmp_path: Path) -> None:
    path = make_font(tmp_path / "Broken.ttf", "기")
    machine.addfont(path)
    path.write_bytes(b"no font")
    assert find_fonts(["기"]).missing == {"기"}


def test_the_font_of_the_extra_has_chinese_japanese_and_korean() -> None:
    pytest.importorskip("noto_cjk_sans_otc", reason="the extra `fonts` is not installed")
    forget()
    assert not find_fonts(["기쁨", "喜び", "愤怒"]).missing


def test_usual_letters_look_at_no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr(module, "_other_fonts", lambda: pytest.fail("looked"))
    fonts = find_fonts(["Märchen, сказка, παραμύθι\n\t\u200b"])
    assert not fonts.missing


@given(st.text(max_size=12))
def test_what_is_spelled_can_be_drawn_and_the_rest_stays(text: str) -> None:
    fonts = find_fonts([text])
    spelled = fonts.spell(text)
    assert fonts.can_draw(spelled)
    assert (spelled == text) == fonts.can_draw(text)
