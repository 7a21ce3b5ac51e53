"""Sheets of Excel and OpenDocument, and files that would not fit into memory."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import SplitConfig
from pipeline.data.prepared import prepare
from pipeline.data.reading import sheet_extents
from pipeline.data.reading.sheet_extents import MOST_CELLS, cell_name
from pipeline.data.reading.tables import read_table
from pipeline.data.source import find_source
from pipeline.errors import DataError

FILES = Path(__file__).parent / "tool_files"
Write = Callable[[str, str | bytes], Path]

SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="a" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/>'
    "</Relationships>",
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.'
    'openxmlformats.org/officeDocument/2006/relationships"><sheets>'
    '<sheet name="One" sheetId="1" r:id="b"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="b" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/></Relationships>',
}


def workbook(cells: str, **parts: str) -> bytes:
    """An xlsx file of one sheet.

    Args:
        cells: The XML of its rows.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (PARTS | {"xl/worksheets/sheet1.xml": SHEET.format(cells)} | parts).items():
            archive.writestr(name, text)
    return content.getvalue()


def text_cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def read(path: Path, **options: object) -> list[list[object]]:
    table = find_source(str(path), SplitConfig(**options)).read().parts["all"]
    return table[["text", "label"]].to_numpy().tolist()


def test_a_sheet_is_read_by_name_with_merged_labels_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    config = SplitConfig(sheet="Reviews", cache_dir=str(tmp_path))
    manifest = prepare(str(FILES / "openpyxl.xlsx"), config)[0].manifest
    assert (manifest.classes, sum(manifest.rows.values())) == (["negative", "positive"], 40)
    assert manifest.dropped["missing label"] == 1
    assert read(FILES / "openpyxl.xlsx", sheet="1")[:3] == [
        ["review 0 of a film", "positive"],
        ["review 1 of a film", "positive"],
        ["review 2 of a film", "negative"],
    ]


def test_values_are_written_as_people_do() -> None:
    table = read_table(FILES / "openpyxl.xlsx", sheet="Reviews")
    assert table.iloc[1].tolist() == ["1", "review 1 of a film", "positive", "2026-01-02", "False"]


def test_open_documents_repeated_rows_are_read() -> None:
    rows = read(FILES / "odfpy.ods")
    assert rows[0] == ["review 0\nof a film", "0"]
    assert rows[-2:] == [["said twice", "1"]] * 2
    assert len(rows) == 42


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "holds 2 sheets: Reviews, Codes. Pass --sheet."),
        ({"sheet": "Review"}, "--sheet Review: no such sheet. Its sheets: Reviews, Codes, Hidden, Empty."),
        ({"sheet": "9"}, "--sheet 9: no such sheet."),
        ({"sheet": "Empty"}, "the sheet 'Empty' is empty. Name another one with --sheet."),
        ({"sheet": "Hidden"}, "a label column (label, labels, class, target, sentiment) not found. Columns: text."),
        (
            {"sheet": "Codes"},
            "Row 1 of the sheet 'Codes' was taken for the header, and row 2 names them: delete the rows above it.",
        ),
    ],
)
def test_which_sheet_is_meant_is_said_with_the_option(options: dict[str, object], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(FILES / "openpyxl.xlsx", **options)
    assert said in str(caught.value)


def test_without_a_header_columns_are_named_by_number(write: Write) -> None:
    rows = "".join(f"<row r='{n}'>{text_cell(f'C{n}', f'text {n}')}<c r='D{n}'><v>{n % 2}</v></c></row>" for n in range(3, 6))
    assert read(write("a.xlsx", workbook(rows)), no_header=True, text_column="1", label_column="2") == [
        ["text 3", "1"],
        ["text 4", "0"],
        ["text 5", "1"],
    ]


def test_a_mistake_names_the_cell(write: Write) -> None:
    rows = f"<row r='2'>{text_cell('B2', 'text')}{text_cell('C2', 'label')}</row>"
    rows += f"<row r='4'>{text_cell('B4', 'fine')}{text_cell('C4', '[&quot;a&quot;, &quot;b&quot;]')}</row>"
    with pytest.raises(DataError, match=r"cell C4 of sheet 'One': 'label' holds 2 labels \(a, b\).*add --label-type multi"):
        read(write("a.xlsx", workbook(rows)))


@pytest.mark.parametrize(
    "far",
    [
        text_cell("Z90", "far"),
        "<c r='Z90'><v>1</v></c>",
        "<c r='Z1'><v>1</v></c></row><row r='90'><c><v>1</v></c>",
    ],
)
def test_a_cell_far_off_is_refused_before_the_reader_asks_for_memory(
    write: Write, far: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_extents, "MOST_CELLS", 100)
    path = write("a.xlsx", workbook(f"<row r='1'>{text_cell('A1', 'text')}{far}</row>"))
    with pytest.raises(DataError, match=r"reaches to cell [A-Z]+\d+, over [\d,]+ cells, .* Delete what stands far"):
        read(path)


def test_formats_of_empty_cells_far_off_are_no_cells(write: Write) -> None:
    rows = f"<row r='1'>{text_cell('A1', 'text')}{text_cell('B1', 'label')}</row>"
    rows += f"<row r='2'>{text_cell('A2', 'fine')}<c r='B2'><v>1</v></c><c r='XFD2' s='0'/></row><row r='1048576'/>"
    assert read(write("a.xlsx", workbook(rows))) == [["fine", "1"]]


def test_open_documents_repetitions_are_multiplied(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_extents, "MOST_CELLS", 100)
    cell = "<table:table-cell office:value-type='string' table:number-columns-repeated='26'></table:table-cell>"
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text"))
    xml = (
        f"<office:document-content {names}><office:body><office:spreadsheet><table:table table:name='One'>"
        f"<table:table-row table:number-rows-repeated='10'>{cell}</table:table-row>"
        "</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", xml)
    with pytest.raises(DataError, match=r"the sheet 'One' reaches to cell Z10, over 260 cells"):
        read(write("a.ods", content.getvalue()))


def test_a_bomb_is_not_unpacked(write: Write) -> None:
    path = write("a.xlsx", workbook(f"<row r='1'><c r='A1'><v>{'0' * (2**25 + 2**20)}</v></c></row>"))
    assert path.stat().st_size < 2**18
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\na,b\n", "is no spreadsheet, whatever its ending. If it is text, name it .csv or .tsv."),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "is protected by a password, or from Excel before 2007"),
        (b"PK\x03\x04 cut short", "cannot be read as a spreadsheet"),
        (workbook("<row><c r='A1'>"), "its part xl/worksheets/sheet1.xml cannot be read ("),
        (workbook(f"<row>{text_cell('a1', 'text')}</row>"), "sheet1.xml cannot be read ('a1' is no cell)"),
        (workbook("", **{"xl/workbook.xml": "<workbook/>"}), "holds no sheet of cells"),
        (workbook(""), "the sheet 'One' is empty"),
        (workbook(f"<row r='1'>{text_cell('A1', 'text')}{text_cell('B1', 'label')}</row>"), "holds only a header and no rows"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ],
)
def test_what_cannot_be_read_is_said(write: Write, content: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(write("a.xlsx", content))
    assert said in str(caught.value)


def test_older_formats_and_idle_options_are_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"\.xls is not read\. Save it as \.xlsx or \.ods, or the sheet as CSV in UTF-8\."):
        read(write("a.xls", "anything"))
    with pytest.raises(DataError, match=r"--sheet One: .* is no spreadsheet\. Leave --sheet out\."):
        read(write("a.csv", "text,label\n"), sheet="One")
    with pytest.raises(DataError, match=r"--sheet One: rotten_tomatoes is no spreadsheet\. Leave --sheet out\."):
        find_source("rotten_tomatoes", SplitConfig(sheet="One"))


def test_cells_are_called_as_spreadsheets_call_them() -> None:
    assert [cell_name(row, column) for row, column in ((0, 0), (9, 25), (0, 26), (1048575, 16383))] == [
        "A1",
        "Z10",
        "AA1",
        "XFD1048576",
    ]
    assert MOST_CELLS >= 1_000_000 * 16
