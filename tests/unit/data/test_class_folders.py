"""Folders with a folder a class, and a text in each file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import SplitConfig
from pipeline.data.prepared import prepare
from pipeline.data.source import find_source
from pipeline.data.sources.class_folders import ClassFolders
from pipeline.errors import DataError

Write = Callable[[str, str | bytes], Path]


def fill(folder: Path, texts: int = 20, ending: str = ".txt") -> None:
    folder.mkdir(parents=True)
    for number in range(texts):
        (folder / f"{number}{ending}").write_text(f"{folder.name} text {number}", encoding="utf-8")


def test_a_folder_a_class_is_a_table(tmp_path: Path) -> None:
    for name in ("alt.atheism", "sci.space"):
        fill(tmp_path / "news" / name, ending="")
    manifest = prepare(str(tmp_path / "news"), SplitConfig(cache_dir=str(tmp_path / "cache")))[0].manifest
    assert (manifest.classes, sum(manifest.rows.values())) == (["alt.atheism", "sci.space"], 40)


def test_imdbs_layout_is_read_with_its_parts_and_without_its_unlabelled_texts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("neg", "pos"):
            fill(tmp_path / "aclImdb" / part / name)
    fill(tmp_path / "aclImdb" / "train" / "unsup", 7)
    (tmp_path / "aclImdb" / "README").write_text("about the corpus")
    (tmp_path / "aclImdb" / "imdb.vocab").write_text("the\n")
    (tmp_path / "aclImdb" / "train" / "urls_pos.txt").write_text("http://\n")
    dataset = str(tmp_path / "aclImdb")
    manifest = prepare(dataset, SplitConfig(split="official", cache_dir=str(tmp_path / "cache")))[0].manifest
    assert (manifest.classes, manifest.rows["test"], manifest.dropped["missing label"]) == (["neg", "pos"], 40, 7)
    source = find_source(dataset, SplitConfig())
    (tmp_path / "aclImdb" / "train" / "neg" / "0.txt").write_text("another text")
    assert find_source(dataset, SplitConfig()).sha256 != source.sha256


def test_mistakes_name_file_and_option(tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        fill(tmp_path / "data" / name)
    dataset = str(tmp_path / "data")
    with pytest.raises(DataError, match=r"--label-column label: --dataset .* has no columns\. Leave it out\."):
        find_source(dataset, SplitConfig(label_column="label"))
    with pytest.raises(DataError, match=r"--no-header true: .* is no text file"):
        find_source(dataset, SplitConfig(no_header=True))
    (tmp_path / "data" / "pos" / "3.txt").write_bytes("über".encode("latin-1"))
    with pytest.raises(DataError, match=r"--dataset .*3\.txt: byte 0 is not UTF-8\. .*--encoding cp1252"):
        find_source(dataset, SplitConfig()).read()
    assert find_source(dataset, SplitConfig(encoding="latin-1")).read().parts["all"]["text"].tolist()[-1] == "pos text 9"
    (tmp_path / "data" / "pos" / "poster.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"pos/poster\.jpg is no text file \(\.txt, or no ending\)\. Take them out"):
        find_source(dataset, SplitConfig())


STRAY = {
    "a table in a class": ["pos/index.csv"],
    "a text that is called as a part": ["pos/test.txt"],
    "texts one level deeper": ["pos/2020/0.txt", "pos/2021/0.txt"],
    "other files alone": ["pos/0.md"],
    "a folder within a class": ["neg/more/0.txt"],
}


@pytest.mark.parametrize("layout", ["classes", "parts"])
@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY.keys())
def test_no_class_is_left_out_unsaid(stray: list[str], layout: str, write: Write, tmp_path: Path) -> None:
    inner = "train/" if layout == "parts" else ""
    for name in ("neg", "neutral"):
        fill(tmp_path / "data" / inner / name)
    for name in stray:
        write(f"data/{inner}{name}", "a text")
    if stray == ["pos/index.csv"]:
        write(f"data/{inner}pos/0.txt", "a text")
    with pytest.raises(DataError, match=rf"would be read without the folder of {inner}{stray[0]}\. .*, or take the folder out"):
        find_source(str(tmp_path / "data"), SplitConfig())


def test_no_part_is_left_out_unsaid(write: Write, tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        fill(tmp_path / "data" / "train" / name)
        fill(tmp_path / "data" / "dev" / name)
        write(f"data/test/{name}/0.md", "a text")
        write(f"data/valid/{name}/0.txt", "a text")
    with pytest.raises(DataError, match=r"without the folders of dev/neg/0\.txt, test/neg/0\.md\. "):
        find_source(str(tmp_path / "data"), SplitConfig())


def test_what_is_hidden_or_empty_is_no_part_of_the_data(write: Write, tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        fill(tmp_path / "data" / name)
    for name in (
        ".git/objects/0",
        "__pycache__/a.pyc",
        "neg/.cache/0.txt",
        "pos/__MACOSX/0.txt",
        "more/.DS_Store",
        "pos/.index.csv",
    ):
        write(f"data/{name}", "nothing")
    (tmp_path / "data" / "pos" / "empty" / "too").mkdir(parents=True)
    assert len(find_source(str(tmp_path / "data"), SplitConfig()).read().parts["all"]) == 40


@pytest.mark.parametrize("layout", [["train.csv"], ["a/train.txt", "b/train.txt"], ["a/x.csv", "b/y.csv"], ["a/0.txt"]])
def test_other_layouts_are_left_to_others(layout: list[str], tmp_path: Path) -> None:
    for name in layout:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text,label\na,b\n")
    assert not ClassFolders().claims(str(tmp_path), SplitConfig())
