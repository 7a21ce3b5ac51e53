"""Any file ends in prepared data or in a message, and never in half of either."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from pipeline.config import SplitConfig
from pipeline.data.prepared import prepare
from pipeline.data.splits import SPLITS
from pipeline.errors import PipelineError

# Each is a character or a word that has broken some reader of tables.
NASTY = [
    "",
    " ",
    "\0",
    "\ufeff",
    "\u200f",
    "\u202e",
    "\u2028",
    "\x85",
    "\x1c",
    "\r",
    "\n",
    "\r\n",
    '"',
    '""',
    "'",
    ",",
    "\t",
    ";",
    "|",
    "\\",
    "NA",
    "null",
    "nan",
    "-1",
    "0",
    "1",
    "1.0",
    "0.5",
    "1e999999999",
    "٣",
    "True",
    "🙂",
    "e\u0301",
    "é",
    "\ud800",
    "\U0010ffff",
    "=1+1",
    "$x$",
    "fine",
    "dull",
]
TEXTS = st.lists(st.sampled_from(NASTY), max_size=4).map("".join) | st.text(max_size=8)
VALUES = TEXTS | st.none() | st.booleans() | st.integers() | st.floats() | st.just([1]) | st.just({"a": None})
PLAIN = st.lists(st.sampled_from([text for text in NASTY if text not in ("\0", "\ud800")]), max_size=4).map("".join)
CLASSES: list[list[object]] = [
    ["neg", "pos"],
    ["pos", "neg", "", None],
    [0, 1, 2],
    [1.0, 0.0, float("nan")],
    [True, False],
    ["0", "1", "-1"],
    ["1.0", "2", " 1 "],
    ["\u202e", "🙂", "$x$"],
    [0.5, 1.0],
    ["only"],
    [-1],
    [[1], "a"],
    [["a"], ["b"], []],
    ['["a"]', '{"choices": ["b"]}', "a"],
    ["a", "b", "a;b"],
    ["2", "10", "2,10"],
    [1, "1", True, 1.5],
    [2**70, -1e300],
]
COLUMNS = st.lists(st.sampled_from(["text", "label", "Text", "sentence", "id", "", "a b", "\ud800"]), min_size=1, max_size=4)
ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "shift_jis",
    "utf-7",
    "idna",
    "hex",
    "x",
    "",
]


def as_delimited(columns: list[str], rows: list[list[object]], delimiter: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([columns, *(["" if value is None else value for value in row] for row in rows)])
    return file.getvalue()


def as_json(columns: list[str], rows: list[list[object]]) -> str:
    return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)


def as_parquet(columns: list[str], rows: list[list[object]]) -> bytes:
    arrays = []
    for index in range(len(columns)):
        values = [row[index] for row in rows]
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowException, ValueError, OverflowError):
            arrays.append(pa.array([ascii(value) for value in values]))
    file = io.BytesIO()
    names = [name.encode("utf-8", "replace").decode() for name in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), file)
    return file.getvalue()


def compress(content: bytes, ending: str) -> bytes:
    if ending == ".zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("inner.csv", content)
        return file.getvalue()
    if ending == ".zst":
        return pa.compress(content, "zstd", asbytes=True)
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(ending, bytes)(content)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's ending and content: often a sound table, often with something that does not belong."""
    sound = draw(st.sampled_from([True] * 7 + [False]))
    columns = draw(st.sampled_from([["text", "label"], ["label", "id", "text"]]) if sound else COLUMNS)
    classes, texts = draw(st.sampled_from(CLASSES)), draw(st.sampled_from([PLAIN, PLAIN, TEXTS]))
    values = draw(st.sampled_from([texts, texts, VALUES]))
    own = draw(st.sampled_from([False] * 5 + [True]))  # a label of its own in each row
    rows: list[list[object]] = [
        [
            (draw(values) if own else classes[row % len(classes)])
            if column == "label"
            else f"{row} {draw(texts)}"
            if column == "text"
            else draw(values)
            for column in columns
        ]
        for row in range(draw(st.sampled_from([40] * 12 + [12, 2, 1, 0])))
    ]
    ending = draw(st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".json", ".ndjson", ".parquet", ".pq"]))
    if ending in (".parquet", ".pq"):
        content = as_parquet(columns, rows)
    else:
        delimiter = {".csv": ",", ".tsv": "\t", ".txt": "\t"}.get(ending)
        text = as_delimited(columns, rows, delimiter) if delimiter else as_json(columns, rows)
        encoding = draw(st.sampled_from(["utf-8"] * 9 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"]))
        content = text.encode(encoding, draw(st.sampled_from(["replace", "surrogatepass"])) if "utf" in encoding else "replace")
    compression = draw(st.sampled_from([""] * 4 + [".gz", ".bz2", ".xz", ".zip", ".zst"]))
    return ending + compression, damage(draw, compress(content, compression))


def damage(draw: st.DrawFn, content: bytes) -> bytes:
    kind = draw(st.sampled_from(["none"] * 9 + ["cut", "put", "change"]))
    position = draw(st.integers(0, len(content)))
    piece = draw(st.binary(min_size=1, max_size=4))
    if kind == "cut":
        return content[:position]
    if kind == "put":
        return content[:position] + piece + content[position:]
    return content[:position] + piece + content[position + len(piece) :] if kind == "change" else content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def prepare_or_refuse(dataset: str, folder: Path, **options: object) -> str:
    """Prepare, and hold what is in the cache against how it ended; returns the error's message, empty if none."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        try:
            config = SplitConfig(cache_dir=cache, **options)
            prepared, _ = prepare(dataset, config)
        except PipelineError as error:
            refused = error
        else:
            refused = None
        event("refused" if refused else "prepared")
        if refused:
            assert refused.messages
            assert all(message.startswith("--") and len(message) < 2000 for message in refused.messages), refused.messages
            assert list(Path(cache).iterdir()) == []
            return str(refused)
        entries = list((Path(cache) / "prepared").iterdir())
        assert entries == [prepared.folder]
        assert len(prepared.manifest.classes) >= 2
        for name in SPLITS:
            table = prepared.read(name)
            assert len(table) == prepared.manifest.rows[name]
            assert all(text == text.strip() != "" for text in table["text"])
        assert prepare(dataset, config) == (prepared, True)
        return ""


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    file=tables(),
    split=st.sampled_from(["random"] * 4 + ["official", "grouped"]),
    labels=st.sampled_from([()] * 12 + [("neg", "pos"), ("1", "0"), ("a", "a"), ("a",)]),
    encoding=st.sampled_from([None] * 30 + ENCODINGS),
    layout=st.sampled_from([{}] * 12 + [{"delimiter": ";"}, {"delimiter": "tab"}, {"no_header": True}]),
    columns=st.sampled_from(
        [{}] * 12
        + [{"text_column": "id"}, {"label_column": "id"}, {"text_column": "\ud800"}, {"text_column": "1", "label_column": "2"}]
    ),
)
def test_a_table_in_a_file(
    folder: Path,
    file: tuple[str, bytes],
    split: str,
    labels: tuple[str, ...],
    encoding: str | None,
    layout: dict[str, object],
    columns: dict[str, str],
) -> None:
    path = folder / f"table{file[0]}"
    path.write_bytes(file[1])
    prepare_or_refuse(str(path), folder, split=split, labels=labels, encoding=encoding, **layout, **columns)


@given(
    content=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")),
    ending=st.sampled_from(
        [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".zip", ".json.zst", ".tsv.xz", ".bz2", "", ".x"]
    ),
)
@example(b"[" * 100_000, ".json")
@example(b'{"text": ' + b"1" * 5000 + b', "label": 1}', ".jsonl")
@example(b"a" * 1_000_000, ".csv")
@example(b'"' + b"a" * 1_000_000, ".tsv")
@example(b"\xff\xfe", ".csv")
@example(b"PAR1PAR1", ".parquet")
def test_arbitrary_bytes(folder: Path, content: bytes, ending: str) -> None:
    path = folder / f"bytes{ending}"
    path.write_bytes(content)
    assert prepare_or_refuse(str(path), folder)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    files=st.dictionaries(st.sampled_from(["train", "validation", "dev", "test"]), tables(), max_size=3), named=st.booleans()
)
def test_a_file_a_part(folder: Path, files: dict[str, tuple[str, bytes]], named: bool) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as parts:
        paths = {part: Path(parts) / f"{part}{ending}" for part, (ending, _) in files.items()}
        for part, (_, content) in files.items():
            paths[part].write_bytes(content)
        options = {f"{part}_file": str(path) for part, path in paths.items() if part != "dev"}
        if named and options:
            prepare_or_refuse(options.get("train_file", ""), folder, **options)
        else:
            prepare_or_refuse(parts, folder, split="official")


@given(st.text(max_size=30) | st.lists(st.sampled_from(["/", "..", ".", "~", "a", ".csv", "\0", "\ud800"])).map("".join))
@example("\0.csv")
@example("~\ud800")
@example("/dev/null")
@example("a" * 10_000)
def test_any_name_of_data(folder: Path, name: str) -> None:
    if "/" in name.strip("./~") or name in (".", "..", "~"):  # could be a hub id, or a folder of this machine
        name = "a" + name.replace("/", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert prepare_or_refuse(name, folder)
        assert prepare_or_refuse(name, folder, train_file=name or "x", test_file=name)
