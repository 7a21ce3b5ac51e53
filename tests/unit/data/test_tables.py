import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.data.builder import Chosen
from pipeline.data.reading.tables import read_table
from pipeline.errors import DataError

Write = Callable[[str, str | bytes], Path]

VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
MARKS = st.text(" ab\"',;|\t\r\n\0\ufeff\x85")
ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=6)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def listed(table: pd.DataFrame) -> list[list[str]]:
    return table.where(table.notna(), "").to_numpy().tolist()


# Before Python 3.13, csv leaves a lone carriage return unquoted where lines end in another character.
DIALECTS = [("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]


@given(rows=ROWS, dialect=st.sampled_from(DIALECTS))
def test_a_written_csv_table_is_read_back(folder: Path, rows: list[list[str]], dialect: tuple[str, int]) -> None:
    ending, quoting = dialect
    header = [f"column{number}" for number in range(len(rows[0]))]
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=ending, quoting=quoting).writerows([header, *rows])
    table = read_table(folder / "table.csv")
    assert list(table.columns) == header
    assert listed(table) == rows


@given(rows=ROWS)
def test_a_written_tsv_table_of_plain_fields_is_read_back_with_its_quotation_marks(folder: Path, rows: list[list[str]]) -> None:
    plain = [[field.translate(dict.fromkeys(map(ord, "\t\r\n"), " ")) for field in row] for row in rows]
    header = ['said "so', *(f"column{number}" for number in range(1, len(rows[0])))]
    text = "\n".join("\t".join(row) for row in [header, *plain])
    (folder / "table.tsv").write_text(text, encoding="utf-8", newline="")
    assert listed(read_table(folder / "table.tsv")) == plain


@given(
    content=st.binary() | st.text(" ab\"',;|\t\r\n\0\ufeff\x85").map(str.encode),
    suffix=st.sampled_from([".csv", ".tsv", ".txt"]),
)
@example(b"", ".csv")
@example(b'"', ".csv")
@example(b"\r", ".tsv")
@example(b"\xff\xfe", ".csv")
def test_arbitrary_bytes_give_a_table_or_a_data_error(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"bytes{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        table = read_table(path)
        assert len(table) > 0
        assert len(set(table.columns)) == table.shape[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "the file is empty. It needs a header"),
        ("a.csv", "\n\n", "the file is empty"),
        ("a.csv", "text,label\n", "only a header and no rows below it."),
        ("a.csv", "text,label\na,b,c\n", "row 2 has 3 fields, the header 2. Is a comma missing"),
        ("a.tsv", "text\tlabel\na\t1\nb\n", "row 3 has 1 fields, the header 2. Is a tab missing"),
        ("a.csv", 'text,label\n"open,1\n', "Is a quotation mark not closed?"),
        ("a.csv", "text,label,text\na,1,b\n", "column 'text' stands twice in the header. Rename one."),
        (
            "a.csv",
            "text,label\na,1\n".encode("utf-16-le"),
            "holds NUL bytes, so it is not a text file in UTF-8. Convert it, or pass --encoding utf-16-le",
        ),
        ("a.csv", b"text,label\na\0b,1\n", "holds NUL bytes"),
        (
            "a.csv",
            "text,label\ncafé,1\n".encode("latin-1"),
            "byte 14 is not UTF-8. Its bytes fit cp1252: pass --encoding cp1252, or save the file as UTF-8.",
        ),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "holds NUL bytes"),
        ("a.json", "[]", "the file is empty. It needs one JSON object a line."),
        ("a.docx", "x", "files ending in '.docx' are not read. Give .csv or .tsv, .jsonl, .ndjson, .json, .parquet,"),
        ("a", "text,label\n", "files ending in 'nothing' are not read."),
    ],
)
def test_an_unreadable_file_is_answered_with_what_is_wrong(write: Write, name: str, content: str | bytes, message: str) -> None:
    path = write(name, content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"--dataset {path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "A.CSV"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_endings_in_capitals_and_byte_order_marks_are_fine(write: Write, name: str, mark: str) -> None:
    assert listed(read_table(write(name, mark + " text , label\nfine,1\n")).rename(columns=str)) == [["fine", "1"]]
    assert list(read_table(write(name, mark + " text , label\nfine,1\n")).columns) == ["text", "label"]


def test_words_that_stand_for_missing_elsewhere_stay_words_and_only_empty_fields_are_missing(write: Write) -> None:
    words = ["NA", "null", "nan", "None", "007", "1.50", "-1"]
    table = read_table(write("a.csv", "text,label\n" + "".join(f"{word},\n" for word in words)))
    assert table["text"].tolist() == words
    assert table["label"].isna().all()


@pytest.mark.parametrize(
    ("field", "read"),
    [
        ('"quoted"', "quoted"),
        ('"a ""b"" c"', 'a "b" c'),
        ('"with\u2028separator"', "with\u2028separator"),
        ('he said "no', 'he said "no'),
        ('"so" they say', '"so" they say'),
        ('"Stupid" is the new "smart"', '"Stupid" is the new "smart"'),
        ('"""so"" they say"', '"so" they say'),
        ('"""', '"""'),
        ('"', '"'),
    ],
)
def test_a_tsv_file_is_quoted_only_where_every_marked_field_is_quoted_as_a_whole(write: Write, field: str, read: str) -> None:
    assert read_table(write("a.tsv", f"text\tlabel\n{field}\t1\n"))["text"].tolist() == [read]


def test_a_field_may_hold_a_whole_document(write: Write) -> None:
    buffer = io.StringIO()
    document = "word, " * 50_000
    csv.writer(buffer).writerows([["text", "label"], [document, "1"]])
    assert read_table(write("a.csv", buffer.getvalue()))["text"].tolist() == [document]


RECORDS = [{"text": "fine", "label": 1}, {"text": 'a "b", c\n🙂', "label": 0}, {"text": None, "label": 1}]


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


FORMATS = {
    ".jsonl": lines(RECORDS),
    ".ndjson": b"\xef\xbb\xbf" + lines(RECORDS).replace(b"\n", b"\r\n\r\n"),
    ".json": json.dumps(RECORDS, indent=1).encode(),
    ".parquet": parquet(pa.Table.from_pylist(RECORDS)),
    ".csv": b'text,label\nfine,1\n"a ""b"", c\n\xf0\x9f\x99\x82",0\n,1\n',
}


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda content: zipped(content, "a", "__MACOSX/a"),
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_table_compressed_or_not(write: Write, ending: str, compression: str) -> None:
    path = write(f"a{ending}{compression}", COMPRESS[compression](FORMATS[ending]))
    assert listed(read_table(path)) == [["fine", "1"], ['a "b", c\n🙂', "0"], ["", "1"]]


def test_a_zip_file_is_read_by_the_name_of_its_only_member(write: Write) -> None:
    assert listed(read_table(write("a.zip", zipped(b"text\nfine\n", "b.tsv")))) == [["fine"]]
    with pytest.raises(DataError, match=r"holds 2 files: b\.csv, c\.csv\. Give a \.zip with one file in it"):
        read_table(write("a.zip", zipped(b"text\nfine\n", "b.csv", "c.csv")))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_compressed_file_is_refused(write: Write, ending: str, damage: str) -> None:
    content = COMPRESS[ending](b"text,label\n" + b"fine,1\n" * 1000)
    path = write(f"a.csv{ending}", content[: len(content) // 2] if damage == "cut" else b"text,label\nfine,1\n")
    with pytest.raises(DataError, match="cannot be decompressed"):
        read_table(path)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([True, False, None]), ["True", "False", ""]),
        (pa.array([1.0, float("nan"), 0.5]), ["1", "", "0.5"]),
        (pa.array([2**62 + 1, None]), [str(2**62 + 1), ""]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([b"caf\xc3\xa9"]), ["café"]),
        (pa.array([None, None]), ["", ""]),
    ],
)
def test_columns_of_parquet_become_texts(write: Write, values: pa.Array, texts: list[str]) -> None:
    path = write("a.parquet", parquet(pa.table({"label": values})))
    assert listed(read_table(path)) == [[text] for text in texts]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{}\n[1]\n", "line 2 is no JSON object."),
        ("a.jsonl", b'{"text": \n', "line 1 is not JSON: "),
        ("a.json", b"[" * 100_000, "it is not JSON: "),
        ("a.jsonl", b'\n{"text": ["a"]}\n', "row 2: 'text' holds a list, not a text or a class."),
        ("a.jsonl", rb'{"text": "\ud83d"}', "row 1: 'text' holds half of a surrogate pair"),
        ("a.parquet", b"PAR1 and then nothing PAR1", "cannot be read as Parquet"),
        ("a.parquet", parquet(pa.table({"text": pa.array([], pa.string())})), "holds no rows."),
        ("a.parquet", parquet(pa.Table.from_arrays([[1], [2]], names=["a", "a"])), "column 'a' stands twice"),
        ("a.parquet", parquet(pa.table({"text": [["a"]]})), "column 'text' holds list<"),
        ("a.parquet", parquet(pa.table({"text": [b"\xff"]})), "column 'text' cannot be read as text"),
    ],
)
def test_a_table_of_another_format_that_cannot_be_read_is_answered_so(
    write: Write, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write(name, content))
    assert message in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_byte_order_mark_are_recognised(write: Write, encoding: str) -> None:
    table = read_table(write("a.csv", "text,label\ncafé 🙂,1\n".encode(encoding)))
    assert list(table.columns) == ["text", "label"]
    assert listed(table) == [["café 🙂", "1"]]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift_jis"])
def test_other_encodings_are_named(write: Write, encoding: str) -> None:
    text = "ｶﾌｪ" if encoding == "shift_jis" else "café"
    path = write("a.csv", f"text,label\n{text},1\n".encode(encoding))
    assert listed(read_table(path, encoding=encoding)) == [[text, "1"]]
    with pytest.raises(DataError, match="--encoding"):
        read_table(path)


def test_the_first_byte_of_another_encoding_is_named_wherever_it_stands(write: Write) -> None:
    start = "text,label\n" + "é,1\n" * 600_000  # over several blocks, cut within characters
    with pytest.raises(DataError, match=f"byte {len(start.encode()) + 3} is not UTF-8"):
        read_table(write("a.csv", start.encode() + b"caf\xe9,1\n"))
    with pytest.raises(DataError, match=r"byte 13 is not ascii. Is --encoding ascii right?"):
        read_table(write("a.csv", "text,label\nmaté,1\n"[:13] + "é"), encoding="ascii")


def test_only_the_columns_asked_for_are_read(write: Write) -> None:
    for ending, content in FORMATS.items():
        assert list(read_table(write(f"a{ending}", content), choose=lambda names: Chosen(["label"])).columns) == ["label"]
    assert FORMATS


def test_keys_that_are_no_text_are_passed_over(write: Write) -> None:
    assert list(read_table(write("a.jsonl", rb'{"\ud800": 1, "text": "fine"}')).columns) == ["text"]


def test_chunks_make_no_difference(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.data import builder
    from pipeline.data.reading import delimited, tables

    for module in (builder, delimited, tables):
        monkeypatch.setattr(module, "CHUNK", 2)
    for ending, content in FORMATS.items():
        assert listed(read_table(write(f"a{ending}", content)))[1:] == [['a "b", c\n🙂', "0"], ["", "1"]]
    with pytest.raises(DataError, match="row 5 has 3 fields"):
        read_table(write("a.csv", "text,label\na,1\nb,1\nc,1\nd,1,1\n"))
    assert FORMATS
