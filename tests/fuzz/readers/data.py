"""Data: files in every format, archives, folders of texts, and all the way to prepared splits."""

from __future__ import annotations

import bz2
import dataclasses
import functools
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import PrepareDataConfig, SplitConfig
from pipeline.config.fields import describe_fields
from pipeline.data.prepared import prepare
from pipeline.data.reading.tables import FORMATS
from pipeline.data.source import find_source
from pipeline.data.splits import SPLITS
from pipeline.stages.configure import configure

from ..reader import Reader, Room

_TEXT_FORMATS = [ending for ending in FORMATS if ending not in (".parquet", ".pq", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")]
_PACKINGS = ("", ".gz", ".bz2", ".xz", ".zip", ".zst")
# Without .zst: pyarrow 25 keeps the buffer of each read that fails, and after thousands of them there are no addresses left.
_BROKEN = (".gz", ".bz2", ".xz", ".zip")
_OPTIONS = sorted(
    set(describe_fields(SplitConfig)) - {"cache_dir", "dataset", "train_file", "validation_file", "test_file", "explicit"}
)
SEPARATOR = b"\n\x00\n"
"""Between the files of a folder; each begins with its name in a line."""


def _configure(room: Room, line: str, **given: str) -> PrepareDataConfig:
    """The config of what stands behind a file's ending: `&split=grouped&label_type=multi`."""
    return dataclasses.replace(_configured(line), **given, cache_dir=str(room.kept))


@functools.lru_cache(maxsize=1000)
def _configured(line: str) -> PrepareDataConfig:
    typed = {name: value for name, _, value in (part.partition("=") for part in line.split("&")) if name in _OPTIONS}
    return configure(PrepareDataConfig, typed)


def _lay_table(content: bytes, room: Room) -> PrepareDataConfig:
    """A file whose first line says its ending and options, packed as that says; only what is packed is made up."""
    head, _, body = content.partition(b"\n")
    ending, _, options = head.decode("utf-8", "surrogateescape").partition("&")
    form = next((form for form in _TEXT_FORMATS if ending.startswith(form)), _TEXT_FORMATS[len(ending) % len(_TEXT_FORMATS)])
    packing = next((packing for packing in _PACKINGS[1:] if ending.endswith(packing)), "")
    file = room.given / f"table{form}{packing}"
    file.write_bytes(_pack(body, packing, f"table{form}"))
    return _configure(room, options, dataset=str(file))


def _pack(content: bytes, packing: str, name: str) -> bytes:
    if packing == ".zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, content)
        return file.getvalue()
    if packing == ".zst":
        return bytes(pa.compress(content, "zstd", asbytes=True))
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(packing, bytes)(content)


def _read_table(content: bytes, room: Room) -> None:
    config = _lay_table(content, room)
    find_source(config.dataset, config).read()


def _prepare(content: bytes, room: Room) -> None:
    config = _lay_table(content, room)
    _check_prepared(config)


def _check_prepared(config: PrepareDataConfig) -> None:
    prepared, _ = prepare(config.dataset, config)
    for name in SPLITS:
        table = prepared.read(name)
        assert len(table) == prepared.manifest.rows[name]
        assert all(text.strip() for text in table["text"])
    assert prepare(config.dataset, config) == (prepared, True)


def _rows(count: int = 16) -> list[tuple[str, str]]:
    return [(f"a {'fine' if row % 2 else 'dull'} film of {row} scenes", ("neg", "pos")[row % 2]) for row in range(count)]


def _table_seeds() -> list[bytes]:
    rows = _rows()
    csv = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)
    objects = [{"text": text, "label": label} for text, label in rows]
    lines = "".join(json.dumps(row) + "\n" for row in objects)
    pairs = "id\tsentence1\tsentence2\tscore\n" + "".join(f"{i}\ta {i}\tb {i}\t{i / 7:.2f}\n" for i in range(12))
    sets = json.dumps([{"text": text, "labels": [label, "any"][: row % 3]} for row, (text, label) in enumerate(rows)])
    columns = json.dumps(
        {"text": {str(i): t for i, (t, _) in enumerate(rows)}, "label": {str(i): v for i, (_, v) in enumerate(rows)}}
    )
    split = json.dumps({"columns": ["text", "label"], "index": list(range(16)), "data": rows})
    task = {"id": 1, "data": {"text": "a fine film"}, "annotations": [{"completed_by": 1, "result": [_CHOICE]}]}
    fasttext = "".join(f"__label__{label} {text}\n" for text, label in rows)
    return [
        b".csv\n" + csv.encode(),
        b".csv.gz&delimiter=;&split=grouped\n" + csv.replace(",", ";").encode(),
        b".csv&encoding=latin-1\n" + csv.replace("film", "f\xe9lm").encode("latin-1"),
        b".csv\n" + csv.encode("utf-16"),
        b".tsv&no_header=true&text_column=1&label_column=2\n" + "".join(f"{t}\t{v}\n" for t, v in rows).encode(),
        b".tsv&label_type=score&text_column=sentence1&text_pair_column=sentence2&label_column=score\n" + pairs.encode(),
        b".jsonl\n" + lines.encode(),
        b".jsonl.zip&labels=pos,neg\n" + lines.encode(),
        b".json&label_type=multi\n" + sets.encode(),
        b".json\n" + columns.encode(),
        b".json.zst\n" + split.encode(),
        b".json\n" + json.dumps([{**task, "id": number} for number in range(8)]).encode(),
        b".json&annotators=majority\n" + json.dumps([{**task, "annotations": task["annotations"] * 2}]).encode(),  # type: ignore[operator]
        b".txt\n" + fasttext.encode(),
        b".csv&label_type=multi&label_columns=a,b\ntext,a,b\n" + b"".join(b"x %d,%d,1\n" % (i, i % 2) for i in range(12)),
        b".csv&label_type=multi&label_separator=;\n" + csv.replace("pos", "pos;any").encode(),
    ]


_CHOICE: Mapping[str, Any] = {"type": "choices", "from_name": "sentiment", "to_name": "text", "value": {"choices": ["pos"]}}


def _table_words() -> list[str]:
    options = [f"&{name}=" for name in _OPTIONS]
    names = [
        "text",
        "label",
        "labels",
        "sentence",
        "__label__",
        '"annotations":',
        '"choices":',
        '"data":',
        '"columns":',
        '"index":',
    ]
    return [
        *_TEXT_FORMATS,
        *_PACKINGS[1:],
        *options,
        *names,
        "null",
        "NaN",
        "\ufeff",
        "\u2028",
        "\x1c",
        '""',
        "1e999",
        "[]",
        "{}",
    ]


def _read_raw(ending: str) -> Any:
    """Reads a content as it is as a file of that ending."""

    def read(content: bytes, room: Room) -> None:
        file = room.given / f"table{ending}"
        file.write_bytes(content)
        config = _configure(room, "", dataset=str(file))
        find_source(config.dataset, config).read()

    return read


def _read_packed(content: bytes, room: Room) -> None:
    """The first line says how the rest claims to be packed."""
    head, _, body = content.partition(b"\n")
    packing = next((each for each in _BROKEN if head == each.encode()), _BROKEN[len(head) % len(_BROKEN)])
    file = room.given / (f"table{packing}" if packing == ".zip" else f"table.csv{packing}")
    file.write_bytes(body)
    config = _configure(room, "", dataset=str(file))
    find_source(config.dataset, config).read()


def _packed_seeds() -> list[bytes]:
    csv = ("text,label\n" + "".join(f"{text},{label}\n" for text, label in _rows())).encode()
    one = [packing.encode() + b"\n" + _pack(csv, packing, "table.csv") for packing in _BROKEN]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("train", "test"):
            archive.writestr(f"data/{part}.csv", csv)
    return [*one, b".zip\n" + file.getvalue()]


def _parquet_seeds() -> list[bytes]:
    contents = []
    for compression in ("none", "snappy"):
        file = io.BytesIO()
        texts, labels = zip(*_rows(), strict=True)
        pq.write_table(pa.table({"text": list(texts), "label": list(labels)}), file, compression=compression)
        contents.append(file.getvalue())
    return contents


_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORKBOOK = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="a" Type="{_OFFICE}/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_NAMESPACE}" xmlns:r="{_OFFICE}"><sheets><sheet name="One" sheetId="1" r:id="b"/>'
    "</sheets></workbook>",
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="b" Type="{_OFFICE}/worksheet" '
    'Target="worksheets/sheet1.xml"/></Relationships>',
}


def _read_sheet(content: bytes, room: Room) -> None:
    """The XML of an Excel sheet; the file around it is sound."""
    file = room.given / "table.xlsx"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in _WORKBOOK.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", content)
    config = _configure(room, "", dataset=str(file))
    find_source(config.dataset, config).read()


def _sheet_seeds() -> list[bytes]:
    def cell(place: str, text: str) -> str:
        return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'

    rows = [("text", "label"), *_rows(6)]
    cells = "".join(f"<row>{cell(f'A{i}', text)}{cell(f'B{i}', label)}</row>" for i, (text, label) in enumerate(rows, 1))
    sheet = f'<worksheet xmlns="{_NAMESPACE}"><dimension ref="A1:B7"/><sheetData>{cells}</sheetData>%s</worksheet>'
    merged = '<mergeCells count="1"><mergeCell ref="B2:B4"/></mergeCells>'
    return [(sheet % "").encode(), (sheet % merged).encode()]


def _sheet_words() -> list[str]:
    return ["<row>", "</row>", '<row r="', '<c r="', "</c>", ' t="s"', ' t="n"', ' t="d"', "<v>", "</v>", "<f>", "XFD1048576"]


def lay_files(content: bytes, folder: Path) -> None:
    """Files of a folder, each with its name in the first line; a name that leads out is cut short."""
    for section in content.split(SEPARATOR):
        name, _, body = section.partition(b"\n")
        parts = [part for part in PurePosixPath(name.decode("utf-8", "replace").replace("\0", "")).parts if part.strip("./ ")]
        file = folder.joinpath(*[part[:60] for part in parts[:3]] or ["x"])
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        except OSError:  # a file and a folder of one name
            continue


def join_files(files: Mapping[str, str | bytes]) -> bytes:
    """The other way round."""
    each = (name.encode() + b"\n" + (text if isinstance(text, bytes) else text.encode()) for name, text in files.items())
    return SEPARATOR.join(each)


def _read_folder(content: bytes, room: Room) -> None:
    folder = room.given / "folder"
    folder.mkdir()
    lay_files(content, folder)
    config = _configure(room, "", dataset=str(folder))
    find_source(config.dataset, config).read()


def _folder_seeds() -> list[bytes]:
    csv = "text,label\n" + "".join(f"{text},{label}\n" for text, label in _rows())
    return [
        join_files({f"{label}/{i}.txt": text for i, (text, label) in enumerate(_rows(6))}),
        join_files(
            {
                f"{part}/{label}/{i}.txt": f"{part} {text}"
                for part in ("train", "test")
                for i, (text, label) in enumerate(_rows(4))
            }
        ),
        join_files({"train.csv": csv, "dev.csv": csv, "test.csv": csv, "README.md": "# Data\n"}),
        join_files({"train.tsv": csv.replace(",", "\t"), "notes.txt": "x"}),
    ]


def _folder_words() -> list[str]:
    return [SEPARATOR.decode(), "train", "test", "dev", "validation", "README.md", "---\nconfigs:\n", *_TEXT_FORMATS, "/"]


READERS = (
    Reader("table", _read_table, _table_seeds, _table_words),
    Reader("prepared from a table", _prepare, _table_seeds, _table_words, seconds=10),
    Reader("packed file", _read_packed, _packed_seeds, lambda: ["PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "\x1f\u008b"]),
    Reader("Parquet", _read_raw(".parquet"), _parquet_seeds, lambda: ["PAR1", "text", "label"]),
    Reader("sheet", _read_sheet, _sheet_seeds, _sheet_words),
    Reader("folder of data", _read_folder, _folder_seeds, _folder_words),
)
