import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SplitConfig
from pipeline.data import prepared as module
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.splits import SPLITS
from pipeline.errors import DataError

Rows = list[tuple[str, str]]
ROWS: Rows = [(f"text {row}", ("neg", "pos")[row % 2]) for row in range(40)]


class Data:
    """A CSV file and the cache beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "reviews.csv"
        self.cache_dir = folder / "cache"

    def write(self, rows: Rows) -> None:
        self.path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")

    def prepare(self, force: bool = False, **options: object) -> tuple[module.PreparedData, bool]:
        return prepare(str(self.path), SplitConfig(cache_dir=str(self.cache_dir), **options), force)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    made = Data(tmp_path)
    made.write(ROWS)
    return made


def test_what_another_process_has_prepared_meanwhile_stays(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, inodes = module._cut, []

    def slow(*arguments: object) -> object:
        with monkeypatch.context() as quick:
            quick.setattr(module, "_cut", cut)
            prepared, reused = data.prepare()
        assert not reused
        inodes.append(prepared.folder.stat().st_ino)
        return cut(*arguments)

    monkeypatch.setattr(module, "_cut", slow)
    prepared, _ = data.prepare()
    assert [prepared.folder.stat().st_ino] == inodes


def test_prepared_splits_hold_every_row_once_and_the_manifest_describes_them(data: Data) -> None:
    prepared, reused = data.prepare()
    assert not reused
    tables = {name: prepared.read(name) for name in SPLITS}
    manifest = prepared.manifest
    assert sorted(text for table in tables.values() for text in table["text"]) == sorted(text for text, _ in ROWS)
    assert (manifest.name, manifest.classes) == ("reviews.csv", ["neg", "pos"])
    assert manifest.rows == {"train": 32, "validation": 4, "test": 4}
    assert manifest.rows_by_class == {"train": [16, 16], "validation": [2, 2], "test": [2, 2]}
    for table in tables.values():
        assert [("neg", "pos")[label] for label in table["label"]] == [dict(ROWS)[text] for text in table["text"]]


def test_the_same_data_is_prepared_once(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = data.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(module, "clean", lambda *given: pytest.fail("prepared again"))
        second, reused = data.prepare()
    assert reused
    assert second == first
    forced, reused = data.prepare(force=True)
    assert not reused
    assert forced == first
    assert [path.name for path in (data.cache_dir / "prepared").iterdir()] == [first.folder.name]


@pytest.mark.parametrize(
    "options", [{"split_seed": 1}, {"text_column": "text"}, {"label_column": "label"}, {"split_ratios": "0.7,0.1,0.2"}]
)
def test_other_options_are_prepared_apart(data: Data, options: dict[str, object]) -> None:
    first, _ = data.prepare()
    other, reused = data.prepare(**options)
    assert not reused
    assert other.folder != first.folder
    assert (other.manifest.fingerprint != first.manifest.fingerprint) == any("split_" in name for name in options)


@pytest.mark.parametrize(
    "changed",
    [
        [("text 0!", "neg"), *ROWS[1:]],
        [("text 0", "pos"), ("text 1", "neg"), *ROWS[2:]],
        [(text, {"neg": "bad"}.get(label, label)) for text, label in ROWS],
        ROWS[2:],
        [ROWS[2], ROWS[1], ROWS[0], *ROWS[3:]],
    ],
    ids=["text", "labels", "class name", "fewer rows", "order"],
)
def test_changed_content_is_prepared_anew_under_another_fingerprint(data: Data, changed: Rows) -> None:
    first, _ = data.prepare()
    data.write(changed)
    second, reused = data.prepare()
    assert not reused
    assert second.manifest.fingerprint != first.manifest.fingerprint


def test_the_fingerprint_does_not_depend_on_where_the_file_lies(data: Data, tmp_path: Path) -> None:
    first, _ = data.prepare()
    moved = data.path.rename(tmp_path / "moved.csv")
    prepared, _ = prepare(str(moved), SplitConfig(cache_dir=str(tmp_path / "other")))
    assert prepared.manifest.fingerprint == first.manifest.fingerprint


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.text("0123456789:", max_size=6)
Table = list[tuple[str, int]]
TABLES = st.lists(st.tuples(TEXTS, st.integers(0, 12)), max_size=6)


@given(TABLES, TABLES)
def test_two_tables_hash_alike_only_if_they_are_the_same(rows: Table, independent: Table) -> None:
    relabelled = [(text, label + 1) for text, label in rows]
    for other in (independent, list(rows), rows[::-1], rows[1:], relabelled, [(text + "x", label) for text, label in rows]):
        left, right = (pd.DataFrame(table, columns=["text", "label"]) for table in (rows, other))
        assert (module.hash_rows(left) == module.hash_rows(right)) == (rows == other)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_a_damaged_file_is_made_anew_by_whoever_reads_it(
    data: Data, split: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepared, _ = data.prepare()
    path = prepared.folder / f"{split}.parquet"
    if damage == "changed":
        table = pd.read_parquet(path)
        table.loc[0, "label"] = 1 - table.loc[0, "label"]
        table.to_parquet(path, index=False)
    else:
        path.write_bytes(path.read_bytes()[:-20])
    again, reused = data.prepare()
    assert reused
    for name in SPLITS:
        caplog.clear()
        assert len(again.read(name)) == again.manifest.rows[name]
        assert (f"{split}.parquet): they are made anew" in caplog.text) == (name == split)
    data.write([*ROWS, ("one more", "pos")])
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{split}\.parquet was damaged, and the data have changed meanwhile"):
        again.read(split)


@pytest.mark.parametrize("name", [*(f"{split}.parquet" for split in SPLITS), "overlap.json", "manifest.json"])
def test_data_of_which_a_file_is_gone_are_prepared_anew(data: Data, name: str) -> None:
    prepared, _ = data.prepare()
    (prepared.folder / name).unlink()
    again, reused = data.prepare()
    assert not reused
    assert again == prepared
    assert [len(again.read(split)) for split in SPLITS] == [32, 4, 4]
    assert data.prepare()[1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": 1, "more": 2}'])
def test_a_damaged_manifest_is_said_and_made_anew(data: Data, content: str, caplog: pytest.LogCaptureFixture) -> None:
    prepared, _ = data.prepare()
    (prepared.folder / "manifest.json").write_text(content, encoding="utf-8")
    again, reused = data.prepare()
    assert (again.manifest, reused) == (prepared.manifest, False)
    assert "manifest.json): they are made anew" in caplog.text


def test_an_interrupted_preparation_does_not_pass_for_prepared(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *given, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            data.prepare()
    assert list((data.cache_dir / "prepared").iterdir()) == []
    _, reused = data.prepare()
    assert not reused


def test_what_cannot_be_prepared_leaves_no_folder(data: Data) -> None:
    data.write([(text, "pos") for text, _ in ROWS])
    with pytest.raises(DataError, match="every row has the label 'pos'"):
        data.prepare()
    assert not data.cache_dir.exists()


def test_overlap_is_kept_in_the_manifest_and_examples_beside_it(data: Data) -> None:
    data.write([*ROWS, *((f"a longer {text}", label) for text, label in ROWS)])
    random, _ = data.prepare()
    assert list(random.manifest.overlap) == ["train/validation", "train/test", "validation/test"]
    found = random.manifest.overlap["train/test"]
    assert found["rows"] == 8
    train = set(random.read("train")["text"])
    assert found["inside"] == sum(f"a longer {text}" in train for text in random.read("test")["text"]) > 0
    again, reused = data.prepare()
    assert reused
    assert again.examples() == random.examples()
    for example in random.examples()["train/test"]["inside"]:
        assert f" {example['test']}" in example["train"]
    (random.folder / "overlap.json").write_text("{")
    assert again.examples()["train/test"]


def test_a_grouped_split_is_prepared_apart_and_counts_what_it_dropped(data: Data) -> None:
    data.write([*ROWS, *((f"{side} {text} of all", label) for text, label in ROWS for side in ("left", "right"))])
    random, _ = data.prepare()
    grouped, reused = data.prepare(split="grouped")
    assert not reused
    assert random.manifest.overlap["train/test"]["inside"] > grouped.manifest.overlap["train/test"]["leaking"] == 0
    assert sum(grouped.manifest.rows.values()) == 120 - grouped.manifest.dropped["overlap of 4 or more tokens"]


def test_rows_of_one_value_of_the_group_column_stay_together(data: Data) -> None:
    lines = [f"text {row},{('neg', 'pos')[row % 2]},film {row // 4}" for row in range(80)]
    data.path.write_text("text,label,film\n" + "\n".join(lines) + "\n", encoding="utf-8")
    prepared, _ = data.prepare(split="grouped", group_column="film")
    sides = {name: {int(text.split()[1]) // 4 for text in prepared.read(name)["text"]} for name in SPLITS}
    assert sum(map(len, sides.values())) == 20
    assert set.union(*sides.values()) == set(range(20))
    assert list(prepared.read("train").columns) == ["text", "label"]
    assert data.prepare(split="grouped")[0].folder != prepared.folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_column": "film"}, "--group-column film: --split random does not look at groups. Add --split grouped"),
        ({"group_column": "film", "split": "grouped"}, "column 'film' not found. Columns: text, label. Change --group-column."),
    ],
)
def test_a_group_column_that_cannot_be_used_is_refused(data: Data, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        data.prepare(**options)
    with pytest.raises(DataError, match="rotten_tomatoes has text and label only"):
        prepare("rotten_tomatoes", SplitConfig(split="grouped", group_column="film"))


def test_the_official_split_of_a_folder_is_kept(write: Callable[[str, str | bytes], Path], tmp_path: Path) -> None:
    body = "".join(f"train {row}\t{row % 2}\n" for row in range(40))
    folder = write("SST-2/train.tsv", "sentence\tlabel\n" + body).parent
    write("SST-2/dev.tsv", "content\tlabel\ndev 0\t0\ndev 1\t1\ndev 1\t1\n")
    write("SST-2/test.tsv", "index\tsentence\n0\tunlabelled\n")
    prepared, _ = prepare(str(folder), SplitConfig(cache_dir=str(tmp_path / "cache"), split="official"))
    assert prepared.manifest.rows == {"train": 36, "validation": 4, "test": 3}
    assert prepared.read("test")["text"].tolist() == ["dev 0", "dev 1", "dev 1"]
    assert prepared.manifest.audit["duplicates_within"]["test"] == 1


def test_every_field_of_the_manifest_is_read_back(data: Data) -> None:
    made, again = data.prepare()[0].manifest, data.prepare()[0].manifest
    assert fields(Manifest)
    for field in fields(Manifest):
        assert getattr(made, field.name) == getattr(again, field.name), field.name


@pytest.fixture
def parts(write: Callable[[str, str | bytes], Path]) -> Callable[..., dict[str, str]]:
    """Writes files of labels and gives the options that name them."""

    def write_parts(**labels: list[str]) -> dict[str, str]:
        return {
            f"{part}_file": str(
                write(f"{part}.csv", "text,label\n" + "".join(f"{part} {i},{x}\n" for i, x in enumerate(column)))
            )
            for part, column in labels.items()
        }

    return write_parts


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ({"train": ["a", "b"] * 20}, (32, 4, 4)),
        ({"train": ["a", "b"] * 20, "test": ["a", "b"]}, (36, 4, 2)),
        ({"train": ["a", "b"] * 20, "validation": ["a", "b"]}, (36, 4, 2)),
        ({"train": ["a", "b"] * 20, "validation": ["a", "b"], "test": ["b"]}, (40, 2, 1)),
    ],
)
def test_files_that_were_given_are_the_split(
    parts: Callable[..., dict[str, str]], tmp_path: Path, labels: dict[str, list[str]], rows: tuple[int, ...]
) -> None:
    prepared, _ = prepare("", SplitConfig(cache_dir=str(tmp_path / "cache"), **parts(**labels)))
    assert tuple(prepared.manifest.rows.values()) == rows
    assert prepared.manifest.notes == []


def test_hidden_test_labels_are_refused_or_said(parts: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    options = parts(train=["0", "1"] * 20, validation=["0", "1"], test=["-1", "-1"])
    cache = {"cache_dir": str(tmp_path / "cache")}
    with pytest.raises(DataError, match=r"--test-file .*test\.csv: its labels are hidden \(-1\).*Leave --test-file out"):
        prepare("", SplitConfig(**options, **cache))
    prepared, _ = prepare(str(tmp_path), SplitConfig(split="official", **cache))
    assert prepared.manifest.notes == [
        "The labels of the test part are hidden: the validation part is the test, and validation is cut from train."
    ]
    assert prepared.manifest.rows == {"train": 36, "validation": 4, "test": 2}
    (tmp_path / "validation.csv").unlink()
    with pytest.raises(DataError, match=r"there is no validation part to test on instead\. Use --split random\."):
        prepare(str(tmp_path), SplitConfig(split="official", **cache))
    assert "not used" in prepare(str(tmp_path), SplitConfig(**cache))[0].manifest.notes[0]


def test_classes_that_training_never_sees_are_said(parts: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    options = parts(train=["a", "b"] * 20, test=["a", "c", "c"])
    prepared, _ = prepare("", SplitConfig(cache_dir=str(tmp_path / "cache"), **options))
    assert prepared.manifest.notes == ["Classes that stand in test but never in train, so no model can learn them: c (2)."]


@pytest.mark.parametrize("options", [{"labels": ("pos", "neg")}, {"encoding": "latin-1"}])
def test_label_order_and_encoding_are_prepared_apart(data: Data, options: dict[str, object]) -> None:
    first, _ = data.prepare()
    other, reused = data.prepare(**options)
    assert not reused
    assert other.folder != first.folder
    assert (other.manifest.classes == ["pos", "neg"]) == ("labels" in options)


def test_a_cache_that_cannot_be_written_is_named(data: Data, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"--cache-dir .*file/sub: cannot be written .*Give another folder\."):
        prepare(str(data.path), SplitConfig(cache_dir=str(tmp_path / "file" / "sub")))
