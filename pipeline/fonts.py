"""Fonts for whatever script a picture's words are written in: found on the machine, or said to be missing.

matplotlib draws a character that its font lacks as a box. Here the fonts of the machine, and those of the extra `fonts`,
are searched for one that has it; what none has is spelled out, never drawn as a box.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.code_version import how_to_install
from pipeline.errors import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PACKAGE = "noto_cjk_sans_otc"  # of the extra `fonts`: Chinese, Japanese and Korean letters, about 15 MB
# Looked at first where they are installed: plain faces that systems bring along. Any other font serves after them.
_FIRST = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Noto Sans CJK JP",
    "Hiragino Sans",
    "Yu Gothic",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Noto Sans",
    "Arial Unicode MS",
)
_PLAIN = ("normal", 400)  # style and weight
_LONGEST_TITLE = 150


@dataclass(frozen=True)
class Fonts:
    """How some texts can be drawn."""

    families: tuple[str, ...]
    """Font families in the order in which a character is looked for."""
    missing: frozenset[str]
    """Characters that no font has."""

    def can_draw(self, text: str) -> bool:
        """Whether every character of the text has a glyph."""
        return self.missing.isdisjoint(text) and not any(map(_is_control, text))

    def spell(self, text: str) -> str:
        """The text with each character that cannot be drawn as its code point, such as `<U+C2AC>`."""
        return "".join(f"<U+{ord(letter):04X}>" if letter in self.missing or _is_control(letter) else letter for letter in text)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Texts that are put into pictures meanwhile use these fonts."""
        import matplotlib

        with matplotlib.rc_context({"font.family": list(self.families)}):
            yield


def find_fonts(texts: Iterable[str]) -> Fonts:
    """Fonts that together have the letters of all texts, as far as there are any."""
    needed = {letter for text in texts for letter in text if _is_drawn(letter)}
    families, missing = _find_fonts("".join(sorted(needed)))
    return Fonts(families, missing)


def entitle(axes: Axes, title: str, below: str = "", size: float | None = None) -> None:
    """Set a picture's title with what came from outside in it: in any script, `$x$` is no formula, and it has an end.

    Args:
        below: A second line.
        size: In points; as matplotlib's titles if not given.
    """
    fonts = find_fonts([title])
    text = f"{fonts.spell(shorten(title, _LONGEST_TITLE))}\n{below}".rstrip("\n")
    axes.set_title(text, parse_math=False, fontfamily=list(fonts.families), fontsize=size)


def warn_of_missing(names: Iterable[str], what: str) -> str | None:
    """A sentence for whoever will look at the pictures, if no font has the letters of some names.

    Args:
        what: Whose names, such as `classes`.
    """
    names = list(names)
    fonts = find_fonts(names)
    count = sum(not fonts.missing.isdisjoint(name) for name in names)
    if not count:
        return None
    letters = " ".join(sorted(fonts.missing)[:5])
    return (
        f"Note: no font here has the letters of {count} {what} ({letters} ...); pictures show numbers or code points "
        f"instead. Install a font that has them; for Chinese, Japanese and Korean: {how_to_install(_PACKAGE.replace('_', '-'))}"
    )


def _is_control(letter: str) -> bool:
    """What no font has, and no other font would help."""
    return letter != "\n" and unicodedata.category(letter) == "Cc"


def _is_drawn(letter: str) -> bool:
    """Not spaces, line breaks, and what only says how its neighbours join."""
    return not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf", "Mn", "Me")


@functools.lru_cache(maxsize=64)
def _find_fonts(letters: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families, the usual ones first, and what none of them has."""
    import matplotlib

    usual = tuple(matplotlib.rcParams["font.family"])
    missing = frozenset(letters) - _letters_of_usual(usual)
    families = list(usual)
    for name, path, index in _other_fonts() if missing else ():
        had = missing & _letters_of(path, index)
        if had:
            families.append(name)
            missing -= had
        if not missing:
            break
    return tuple(families), missing


def _letters_of_usual(families: tuple[str, ...]) -> frozenset[str]:
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties(family=list(families)))
    return _letters_of(str(path), getattr(path, "face_index", 0))


def _other_fonts() -> list[tuple[str, str, int]]:
    """Name, file and face of every plain font, in the order in which they are tried."""
    from matplotlib import font_manager

    _add_packaged()
    entries = {
        entry.name: entry
        for entry in reversed(font_manager.fontManager.ttflist)
        if (entry.style, entry.weight) == _PLAIN and not entry.name.startswith(("Last Resort", "."))
    }
    order = {name: place for place, name in enumerate(_FIRST)}
    chosen = sorted(entries.values(), key=lambda entry: (order.get(entry.name, len(order)), entry.name))
    return [(entry.name, entry.fname, getattr(entry, "index", 0)) for entry in chosen]


@functools.cache
def _add_packaged() -> None:
    """Tell matplotlib of the fonts of the extra, if it is installed."""
    from matplotlib import font_manager

    spec: Any = importlib.util.find_spec(_PACKAGE)
    for folder in spec.submodule_search_locations if spec else ():
        for path in sorted(Path(folder).glob("*.[to]t[cf]")):
            font_manager.fontManager.addfont(path)


@functools.lru_cache(maxsize=512)
def _letters_of(path: str, index: int) -> frozenset[str]:
    """All characters of a font that can be drawn at any size; none of a file that cannot be read."""
    from matplotlib import ft2font

    try:
        font = ft2font.FT2Font(path, face_index=index)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (RuntimeError, OSError, ValueError):
        return frozenset()
