"""Delimited text of other delimiters, without a header, and fastText's lines."""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SplitConfig, TrainConfig
from pipeline.config.fields import build
from pipeline.config.identity import identify, settings_hash
from pipeline.config.stage import flag
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.reading.tables import read_table
from pipeline.data.source import find_source
from pipeline.errors import ConfigError, DataError

Write = Callable[[str, str | bytes], Path]
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=6)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("delimited")


def listed(table: pd.DataFrame) -> list[list[str]]:
    return table.where(table.notna(), "").to_numpy().tolist()


def prepared(path: Path, **options: object) -> Manifest:
    return prepare(str(path), SplitConfig(cache_dir=str(path.parent / "cache"), **options))[0].manifest


@given(rows=ROWS, delimiter=st.sampled_from([",", ";", "|", "~"]), header=st.booleans(), says=st.booleans())
def test_a_written_table_is_read_back(folder: Path, rows: list[list[str]], delimiter: str, header: bool, says: bool) -> None:
    names = [f"column{number}" for number in range(len(rows[0]))] if header else []
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(f"sep={delimiter}\r\n" * says)
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([*([names] if header else []), *rows])
    table = read_table(folder / "table.csv", delimiter=None if says else delimiter, header=header)
    assert list(table.columns) == (names or [str(number + 1) for number in range(len(rows[0]))])
    assert listed(table) == rows


@pytest.mark.parametrize("ending", [".csv", ".txt", ".dat", ""])
def test_with_a_delimiter_a_file_may_be_called_as_it_likes(write: Write, ending: str) -> None:
    content = "".join(f'{("ham", "spam")[row % 2]}\tit\'s "text" {row}\n' for row in range(40))
    path = write(f"SMSSpamCollection{ending}", content)
    manifest = prepared(path, delimiter="tab", no_header=True, text_column="2", label_column="1")
    assert (manifest.classes, sum(manifest.rows.values())) == (["ham", "spam"], 40)


def test_what_is_quoted_by_apostrophes_is_read_where_a_delimiter_was_given(write: Write) -> None:
    rows = [f"{('Sport', 'Kultur')[row % 2]};'so sagt''s; die Agentur {row}'" for row in range(40)]
    table = read_table(write("a.csv", "\n".join(rows)), delimiter=";", header=False)
    assert listed(table)[1] == ["Kultur", "so sagt's; die Agentur 1"]
    headed = read_table(write("b.csv", "\n".join(["label;text", *rows])), delimiter=";")
    assert listed(headed) == listed(table)


@pytest.mark.parametrize(
    "rows", [["'tis fine;1", "dull;0"], ["'so' is 'no';1", "'fine';0"], ["'a;1", "'b;0"], ["a;'1", "b;'0"]]
)
def test_apostrophes_that_do_not_quote_a_column_stay(write: Write, rows: list[str]) -> None:
    assert listed(read_table(write("a.csv", "\n".join(rows)), delimiter=";", header=False)) == [row.split(";") for row in rows]


def test_a_first_line_that_names_the_delimiter_is_taken_at_its_word(write: Write) -> None:
    path = write("a.csv", "\ufeffsep=;\r\ntext;label\r\n" + "".join(f"text {row};{row % 2}\r\n" for row in range(40)))
    assert prepared(path).classes == ["0", "1"]
    with pytest.raises(DataError, match=r"row 4 has 1 fields, the header 2\. Is a semicolon missing"):
        read_table(write("b.csv", "sep=;\ntext;label\na;1\nb\n"))


def test_a_row_of_another_length_is_named_without_a_header_too(write: Write) -> None:
    with pytest.raises(DataError, match=r"row 2 has 1 fields, the first row 2\. Is a comma missing"):
        read_table(write("a.csv", "a,1\nb\n"), header=False)


@pytest.mark.parametrize(("text", "label"), [(None, None), ("2", "1"), ("text", "label")])
@pytest.mark.parametrize("ending", [".txt", ".csv", ".txt.gz"])
def test_fasttext_is_read_as_a_file_without_a_header(write: Write, ending: str, text: str | None, label: str | None) -> None:
    import gzip

    content = "".join(f"__label__{('good', 'bad')[row % 2]}  text, {row} : yes\n" for row in range(40)) + "\nno label\n"
    path = write(f"a{ending}", gzip.compress(content.encode()) if ending.endswith("gz") else content)
    manifest = prepared(path, no_header=True, text_column=text, label_column=label)
    assert (manifest.classes, sum(manifest.rows.values())) == (["bad", "good"], 40)
    assert manifest.dropped["missing label"] == 1
    config = SplitConfig(no_header=True, text_column=text, label_column=label)
    assert find_source(str(path), config).read().parts["all"].to_numpy().tolist()[0] == ["text, 0 : yes", "good"]


def test_several_labels_of_fasttext_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"line 2: 'label' holds 2 labels \(a, b\); one class per text is needed"):
        prepared(write("a.txt", "__label__a one\n__label__a __label__b two\n"), no_header=True)


@pytest.mark.parametrize(
    ("typed", "value"), [(";", ";"), ("\t", "tab"), ("\\t", "tab"), ("TAB", "tab"), ("pipe", "|"), ("comma", ","), (" ", " ")]
)
def test_a_delimiter_has_one_spelling(typed: str, value: str) -> None:
    assert SplitConfig(delimiter=typed).delimiter == value


@pytest.mark.parametrize("typed", ["ab", '"', "'", "\n", "x", "1", "\0"])
def test_what_is_no_delimiter_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"--delimiter: got .*\. Give one character that is no letter"):
        build(SplitConfig, {"delimiter": typed}, label=flag, kind="option")


def test_options_of_text_files_are_refused_where_there_is_none(write: Write) -> None:
    pd.DataFrame({"text": ["a"], "label": ["b"]}).to_parquet(write("a.parquet", ""))
    path = write("a.jsonl", '{"text": "a", "label": "b"}\n')
    for dataset, options in (
        (path, {"delimiter": ";"}),
        (path.parent / "a.parquet", {"delimiter": ";"}),
        (path.parent / "a.parquet", {"no_header": True}),
        ("rotten_tomatoes", {"delimiter": ";"}),
        ("sst2", {"no_header": True}),
        ("someone/reviews", {"delimiter": ";"}),
    ):
        with pytest.raises(DataError, match=r"^--(delimiter ;|no-header true): .* Leave --(delimiter|no-header) out\.$"):
            find_source(str(dataset), SplitConfig(**options))


def test_options_that_are_not_used_leave_the_identity_as_it_was(write: Write) -> None:
    assert not {"delimiter", "no_header"} & identify(TrainConfig()).keys()
    assert identify(TrainConfig(delimiter=";"))["delimiter"] == ";"
    hashes = {settings_hash(TrainConfig(**options)) for options in ({}, {"delimiter": ";"}, {"no_header": True})}
    assert len(hashes) == 3


def test_the_same_file_read_in_another_way_is_other_data(write: Write) -> None:
    path = write("a.csv", "text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(40)))
    config = SplitConfig(cache_dir=str(path.parent / "cache"))
    first, _ = prepare(str(path), config)
    other, reused = prepare(str(path), SplitConfig(cache_dir=config.cache_dir, delimiter=","))
    assert not reused
    assert other.manifest.fingerprint == first.manifest.fingerprint


def test_a_header_is_not_taken_for_an_example(write: Write) -> None:
    path = write("a.csv", "Text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(40)))
    with pytest.raises(DataError, match=r"the first row holds 'Text' and 'label', which are names of columns\. Leave"):
        prepared(path, no_header=True, text_column="1", label_column="2")


def test_an_older_spreadsheet_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"is not read\. Save it as \.xlsx or \.ods, or the sheet as CSV in UTF-8\."):
        prepared(write("a.xls", b"PK"))
