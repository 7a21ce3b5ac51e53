"""Which encodings fit the bytes of a text file.

That bytes decode says little: latin-1 reads any bytes, and most Korean files are valid GB18030, too. An encoding fits where
what it decodes to looks like writing: letters of one script with its frequent characters, or of one language's alphabet.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SAMPLE = 2**18
"""Bytes that are looked at."""

_MOST = 3  # encodings that are named
_FIT = 0.9  # of the characters outside ASCII; names, formulas and slips are the rest
_FREQUENT = 0.08  # at least; in running text of the script it is 0.25 and more
_NEAR = 0.75  # of the best one's share of frequent characters
_MOSTLY = 0.9  # of what is outside ASCII is UTF-8, and the rest is damage

# Punctuation that stands in texts of any script.
_NEUTRAL = frozenset("“”‘’„‚«»‹›–—…•·€£¥§©®™°×¡¿ \xad")
# The most frequent characters of running text.
_KOREAN = frozenset("이다는에을의가를고한지도로사하나은기자어아정인대리시그서수스일라부전제장해있보게었과만거들요네면음무적")
_CHINESE = "的一是不了在人有我他中上大和地到以就出可也你生能而子那得下自之年作很好看都，。、！"  # in both scripts
_SIMPLIFIED = frozenset(f"{_CHINESE}这个们来为国说时要会对于着过发后里没")
_TRADITIONAL = frozenset(f"{_CHINESE}這個們來為國說時要會對於著過發後裡沒")
_CYRILLIC, _GREEK, _HEBREW = frozenset("оеаинтс"), frozenset("αοιετσν"), frozenset("יוהלאמר")
_ARABIC, _THAI = frozenset("اليمنور"), frozenset("านรอกเง")

_UNSHOWN = frozenset(map(chr, range(0x80, 0xA0))) - frozenset("\x81\x8d\x8f\x90\x9d")  # the five are in cp1252 nothing either
_WESTERN = ("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíñóúü", "ãáàâçéêíóôõú", "àèéìíîòóùú", "åäöé", "æøåéóò", "éëïíóúè", "ðþáéíóúýæö")
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")
_TURKISH, _BALTIC = ("çğıiöşüâîû",), ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")


@dataclass(frozen=True)
class _Script:
    """An encoding of texts whose letters are outside ASCII."""

    encoding: str
    belongs: Callable[[str], bool]
    """Whether a character is one that such texts are made of."""
    frequent: frozenset[str]


def _between(first: str, last: str) -> Callable[[str], bool]:
    return lambda character: first <= character <= last


def _in_standard(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    """Whether a character stands among the everyday ones of a standard: those with these lead bytes."""

    def belongs(character: str) -> bool:
        try:
            encoded = character.encode(encoding)
        except UnicodeEncodeError:
            return False
        return len(encoded) == 2 and first <= encoded[0] <= last

    return belongs


def _is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30fe" and character != "・"


_KANA = frozenset(filter(_is_kana, map(chr, range(0x3041, 0x30FF))))
# Those of several bytes first: their bytes are read by most of the others, and not the other way round.
_MULTI_BYTE = (
    _Script("cp949", _in_standard("euc_kr", 0xB0, 0xC8), _KOREAN),
    _Script("cp932", lambda character: _is_kana(character) or _in_standard("cp932", 0x88, 0x97)(character), _KANA),
    _Script("gb18030", _in_standard("gb2312", 0xB0, 0xD7), _SIMPLIFIED),
    _Script("big5", _in_standard("big5", 0xA4, 0xC6), _TRADITIONAL),
    _Script("euc_jp", lambda character: _is_kana(character) or _in_standard("euc_jp", 0xB0, 0xCF)(character), _KANA),
)
_SINGLE_BYTE = (
    _Script("cp1251", _between("Ё", "ё"), _CYRILLIC),
    _Script("koi8_r", _between("Ё", "ё"), _CYRILLIC),
    _Script("cp866", _between("Ё", "ё"), _CYRILLIC),
    _Script("cp1253", _between("Ά", "ώ"), _GREEK),
    _Script("cp1255", _between("\u05b0", "\u05ea"), _HEBREW),
    _Script("cp1256", _between("\u060c", "\u0652"), _ARABIC),
    _Script("cp874", _between("\u0e01", "\u0e5b"), _THAI),
)
# Of equal texts the first is named.
_LATIN = (
    ("cp1252", _WESTERN),
    ("cp1250", _CENTRAL),
    ("iso8859_2", _CENTRAL),
    ("cp1254", _TURKISH),
    ("cp1257", _BALTIC),
    ("mac_roman", _WESTERN),
    ("cp850", _WESTERN),
)


def gather_sample(blocks: Iterable[bytes]) -> bytes:
    """The first lines of a file that hold more than ASCII, whole ones as far as its lines are short.

    Args:
        blocks: The file's bytes in order.
    """
    sample, pending = b"", b""
    for block in blocks:
        pending += block
        end = max(pending.rfind(b"\n"), pending.rfind(b"\r")) + 1 or (len(pending) if len(pending) > SAMPLE else 0)
        sample += _telling(pending[:end])
        pending = pending[end:]
        if len(sample) >= SAMPLE:
            return sample
    return sample + _telling(pending)


def fitting_encodings(sample: bytes) -> list[str]:
    """Names of the encodings that fit, the best first; none where none does, or all is ASCII.

    Args:
        sample: Lines of the file, such as `gather_sample` gives; those that hold nothing but ASCII say nothing.
    """
    sample = _telling(sample)
    scores = {script.encoding: score for script in _MULTI_BYTE if (score := _score(sample, script))}
    if not scores:
        scores = {script.encoding: score for script in _SINGLE_BYTE if (score := _score(sample, script))}
    best = max(scores.values(), default=0)
    fitting = sorted((name for name in scores if scores[name] >= _NEAR * best), key=lambda name: -scores[name])
    return fitting[:_MOST] or _fitting_latin(sample)[:_MOST]


def find_better_reading(text: str, encoding: str | None) -> str | None:
    """The encoding in which the bytes of a text look like writing, where in the one that they were read in they do not.

    Args:
        encoding: The one that they were read in; if not given, text that was read as cp1252 before it was saved as UTF-8 is
            looked for.
    """
    if text.isascii():
        return None
    try:
        sample = text.encode(encoding) if encoding else b"".join(map(_western_byte, text))
    except UnicodeError:
        return None
    if is_mostly_utf8(sample):
        return None if _is_unicode(encoding) else "utf-8"
    fitting = fitting_encodings(sample)
    as_fits = [sample.decode(name, "replace") for name in fitting]
    return fitting[0] if fitting and text not in as_fits and not _is_unicode(encoding) else None


def _is_unicode(encoding: str | None) -> bool:
    return encoding is not None and codecs.lookup(encoding).name.startswith("utf")


def western_reading(text: str) -> str:
    """Which of latin-1 and cp1252 a text was read in, if in one of them: the first leaves bytes alone that cp1252 shows."""
    return "cp1252" if _UNSHOWN.isdisjoint(text) else "latin-1"


def _western_byte(character: str) -> bytes:
    """The byte of a character in cp1252, or in latin-1 where that has none there, as browsers read them."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")


def count_utf8(sample: bytes) -> tuple[int, int]:
    """How many characters outside ASCII are UTF-8, and how many places are not."""
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - broken, broken


def is_mostly_utf8(sample: bytes) -> bool:
    """Whether bytes are UTF-8 but for a few that are damaged, so that another encoding would make all the others wrong."""
    whole, broken = count_utf8(sample)
    return whole > 0 and whole >= _MOSTLY * (whole + broken)


def _telling(lines: bytes) -> bytes:
    """The lines that hold more than ASCII."""
    return b"".join(line + b"\n" for line in re.split(rb"[\r\n]+", lines) if not line.isascii())


def _decode(sample: bytes, encoding: str) -> str | None:
    """The text; None where it cannot be one."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError as error:
        if len(sample) < SAMPLE or error.start < len(sample) - 5:  # a line that is cut within its last character
            return None
        text = sample[: error.start].decode(encoding)
    odd = {"Cc", "Co", "Cn", "Cs"}
    return None if any(unicodedata.category(character) in odd for character in set(text) - set("\t\n\r")) else text


def _score(sample: bytes, script: _Script) -> float:
    """Share of frequent characters in the text; 0 where it does not look like the script."""
    text = _decode(sample, script.encoding)
    counts = Counter(
        character
        for character in text or ""
        if character > "\x7f" and (character.isalpha() or unicodedata.category(character)[0] in "MSC")
    )
    symbols = [character for character in counts if character in _NEUTRAL and not character.isalpha()]
    total = counts.total() - sum(counts[character] for character in symbols)
    if text is None or not total:
        return 0
    if sum(count for character, count in counts.items() if script.belongs(character)) < _FIT * total or _has_mixed_case(text):
        return 0
    if script in _SINGLE_BYTE and _share_of_mixed_words(text) > 1 - _FIT:
        return 0
    frequent = sum(text.lower().count(character) for character in script.frequent) / total
    return min(1.0, frequent) if frequent >= _FREQUENT else 0


def _has_mixed_case(text: str) -> bool:
    """Whether capitals stand within words, as where the halves of a script's alphabet are swapped."""
    words = [word for word in re.findall(r"[^\W\d_]{3,}", text) if not word.isascii()]
    inside = sum(not (word[1:].islower() or word.isupper()) for word in words if word.lower() != word.upper())
    return inside > 0.3 * max(1, len(words))


def _share_of_mixed_words(text: str) -> float:
    """Of the words with letters outside ASCII, those that have letters inside ASCII, too."""
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    return sum(any(character <= "\x7f" for character in word) for word in words) / max(1, len(words))


def _fitting_latin(sample: bytes) -> list[str]:
    texts: dict[str, str] = {}
    for encoding, alphabets in _LATIN:
        text = _decode(sample, encoding)
        if text is not None and text not in texts.values() and _looks_latin(text, alphabets):
            texts[encoding] = text
    return list(texts)


def _looks_latin(text: str, alphabets: Sequence[str]) -> bool:
    """Whether the letters outside ASCII are those of one language, and stand among others, and symbols between words."""
    letters = Counter(
        character for character in text.lower() if character > "\x7f" and character.isalpha() and character not in _NEUTRAL
    )
    plain = sum(character.isalpha() for character in text if character <= "\x7f")
    if letters.total() > 0.5 * plain or _has_mixed_case(text):
        return False
    within = len(re.findall(r"(?<=[^\W\d_])[^\w\s\x00-\x7f’·\xad](?=[^\W\d_])", text))
    strange = within + sum(character > "\x7f" and not character.isalpha() and character not in _NEUTRAL for character in text)
    known = max(sum(letters[character] for character in alphabet) for alphabet in alphabets)
    return known >= _FIT * (letters.total() + strange) and any(character > "\x7f" for character in text)
