from pathlib import Path

import pandas as pd
import pytest

from pipeline.data.quality_checks import note_mojibake
from pipeline.data.reading.encodings import fitting_encodings
from pipeline.data.reading.tables import read_table
from pipeline.errors import DataError

TEXTS = {
    "korean": ("이 영화는 정말 재미있고 배우들의 연기가 훌륭했다", "지루하고 시간이 아까운 영화였다", "별로"),
    "japanese": ("この映画はとても面白くて俳優の演技が素晴らしかった", "退屈で時間の無駄だった", "つまらない"),
    "simplified": ("这部电影非常有趣，演员的表演也很出色", "无聊，浪费时间", "很差"),
    "traditional": ("這部電影非常有趣，演員的表演也很出色", "無聊，浪費時間", "很差"),
    "russian": ("Этот фильм очень интересный, и актёры играют прекрасно", "Скучно, жаль потраченного времени", "Плохо"),
    "german": ("Der Film war überraschend schön und die Schauspieler großartig", "Langweilig, schade", "Übel"),
    "french": ("Ce film était très drôle et les acteurs étaient formidables", "L’histoire est trop prévisible", "Nul"),
    "quotes": ("It’s “great” — a film that’s worth 5 €", "Dull", "Weak"),
    "polish": ("Film był bardzo ciekawy, a aktorzy świetnie zagrali", "Muzyka była dobra, a historia nudna", "Źle"),
    "greek": ("Η ταινία ήταν πολύ ενδιαφέρουσα και οι ηθοποιοί εξαιρετικοί", "Βαρετή, κρίμα τον χρόνο", "Κακή"),
    "turkish": ("Film çok eğlenceliydi ve oyuncular harikaydı", "Sıkıcı, yazık oldu zamanıma", "Kötü"),
    "arabic": ("كان الفيلم ممتعا جدا والممثلون رائعون", "ممل ومضيعة للوقت", "سيئ"),
    "hebrew": ("הסרט היה מעניין מאוד והשחקנים נהדרים", "משעמם, חבל על הזמן", "גרוע"),
    "thai": ("หนังเรื่องนี้สนุกมากและนักแสดงเล่นดี", "น่าเบื่อ เสียเวลา", "แย่"),
}
ENCODINGS = (
    *(("korean", name) for name in ("cp949", "euc_kr")),
    *(("japanese", name) for name in ("shift_jis", "cp932", "euc_jp")),
    *(("simplified", name) for name in ("gb2312", "gbk", "gb18030")),
    *(("traditional", name) for name in ("big5", "cp950")),
    *(("russian", name) for name in ("cp1251", "koi8_r", "cp866")),
    *(("german", name) for name in ("cp1252", "latin-1", "mac_roman", "cp850")),
    *(("french", name) for name in ("cp1252", "mac_roman")),
    *(("polish", name) for name in ("cp1250", "iso8859_2")),
    *(
        ("quotes", "cp1252"),
        ("greek", "cp1253"),
        ("turkish", "cp1254"),
        ("arabic", "cp1256"),
        ("hebrew", "cp1255"),
        ("thai", "cp874"),
    ),
)


def csv_of(language: str, times: int = 1) -> str:
    return "text,label\n" + "".join(
        f'"{text}",{"good" if row % 2 else "bad"}\n' for row, text in enumerate(TEXTS[language] * times)
    )


@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize(("language", "encoding"), ENCODINGS)
def test_the_advice_reads_the_file_as_it_was_written(tmp_path: Path, language: str, encoding: str, times: int) -> None:
    text, path = csv_of(language, times), tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "latin" not in message
    advised = message.rpartition("pass --encoding ")[2].partition(",")[0]
    assert path.read_bytes().decode(advised) == text
    assert read_table(path, encoding=advised)["text"].tolist() == list(TEXTS[language] * times)


@pytest.mark.parametrize(("language", "encoding"), ENCODINGS)
def test_texts_that_were_read_right_are_not_doubted(language: str, encoding: str) -> None:
    lines = pd.Series(csv_of(language, 3).split("\n"))
    assert note_mojibake(lines, encoding) == note_mojibake(lines, None) == []


@pytest.mark.parametrize(("language", "encoding"), [pair for pair in ENCODINGS if pair[1] not in ("latin-1", "cp1252")])
def test_texts_that_latin_1_has_made_of_other_bytes_are_doubted(language: str, encoding: str) -> None:
    written = csv_of(language, 3).encode(encoding)
    texts = pd.Series(written.decode("latin-1").split("\n"))
    (note,) = note_mojibake(texts, "latin-1")
    assert "--encoding latin-1: the texts do not look like writing" in note
    meant = note.rpartition("Is --encoding ")[2].removesuffix(" meant?")
    assert written.decode(meant) == csv_of(language, 3)


@pytest.mark.parametrize("language", ["korean", "russian", "german", "quotes"])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_utf_8_that_was_read_as_western_is_doubted_also_after_it_was_saved(language: str, wrong: str) -> None:
    def western(byte: int) -> str:
        try:
            return bytes([byte]).decode(wrong)
        except UnicodeDecodeError:
            return chr(byte)

    texts = pd.Series("".join(map(western, csv_of(language, 3).encode())).split("\n"))
    (note,) = note_mojibake(texts, None)
    assert f"as it seems utf-8 was read as {wrong}" in note


def test_cp1252_that_was_read_as_latin_1_is_doubted_also_after_it_was_saved() -> None:
    texts = pd.Series(["for années", "a maté, é é", "self\x85 this"])  # as in Rotten Tomatoes
    (note,) = note_mojibake(texts, None)
    assert "('\\x85'): as it seems cp1252 was read as latin-1" in note


def test_a_file_that_is_utf_8_but_for_one_place_is_to_be_mended_and_not_read_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(csv_of("german", 20).encode() + "maté,good\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8. The file is UTF-8 .* 1 place\(s\) are damaged.*: mend what is damaged"):
        read_table(path)


@pytest.mark.parametrize("content", [bytes(range(128, 256)), b"\x81\x8d\xfe\xff " * 30])
def test_bytes_that_are_no_writing_fit_nothing(tmp_path: Path, content: bytes) -> None:
    assert fitting_encodings(content) == []
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + content + b",good\n")
    with pytest.raises(DataError, match="fit no encoding that is known here: save the file as UTF-8"):
        read_table(path)


def test_a_long_english_file_with_a_late_accent_and_one_without_line_ends_are_advised_on(tmp_path: Path) -> None:
    late = b"text,label\n" + b"a fine film,good\n" * 100_000 + "ein schöner Film,gut\n".encode("cp1252")
    unbroken = ("text" + "이 영화는 정말 재미있다" * 50_000).encode("cp949")
    for content, encoding in ((late, "cp1252"), (unbroken, "cp949")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match=f"pass --encoding {encoding}, or"):
            read_table(tmp_path / "a.csv")
