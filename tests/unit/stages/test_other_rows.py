"""Rows of data that a model was not trained on, in its terms: which part they are of, and what of them is left out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import SplitConfig
from pipeline.data.columns import Problem
from pipeline.stages.testing.other_data import Naming, OtherData, read_other

Write = Callable[[str, str | bytes], Path]
CLASSES = Problem(("bad", "good"))
SETS = Problem(("bad", "good"), multi=True)
SCORES = Problem((), score_range=(0.0, 5.0))
SIGNS = Problem(("-1", "0", "1"))


@pytest.fixture
def folder(write: Write) -> Callable[..., Path]:
    """Writes a folder with a file a part."""

    def folder(**parts: Sequence[str]) -> Path:
        for part, labels in parts.items():
            rows = "".join(f"{part} {row},{label}\n" for row, label in enumerate(labels))
            path = write(f"parts/{part}.csv", f"text,label\n{rows}")
        return path.parent

    return folder


def read(path: Path, problem: Problem, part: Any = None, **options: Any) -> OtherData:
    config = SplitConfig(cache_dir=str(path.parent / "cache"), **options)
    return read_other(str(path), config, part, problem, Naming(problem.classes))


@pytest.mark.parametrize("part", [None, "test"])
@pytest.mark.parametrize("mark", ["-1", "-1.0"])
@pytest.mark.parametrize(
    ("problem", "labels", "options"),
    [
        (CLASSES, ["bad", "good"], {}),
        (Problem(("0", "1")), ["0", "1"], {}),
        (SCORES, ["1.5", "4"], {}),
        (SETS, ["bad|good", ""], {"label_separator": "|"}),
    ],
    ids=["classes", "numbers", "scores", "sets"],
)
def test_validation_stands_for_a_test_part_whose_labels_are_all_hidden(
    folder: Callable[..., Path], problem: Problem, labels: list[str], options: dict[str, Any], mark: str, part: str | None
) -> None:
    path = folder(train=labels * 10, dev=labels, test=[mark] * 3)
    found = read(path, problem, part, **options)
    assert (found.part, found.table["text"].tolist()) == ("validation", ["dev 0", "dev 1"])


def test_a_test_part_of_which_some_labels_are_hidden_is_the_test_all_the_same(folder: Callable[..., Path]) -> None:
    found = read(folder(train=["0", "1"] * 10, dev=["0", "1"], test=["-1", "1", ""]), Problem(("0", "1")))
    assert (found.part, found.table["text"].tolist()) == ("test", ["test 1"])
    assert list(found.describe_absent(found.table, ("0", "1"))) == [
        "Dropped rows of parts: 2 in all, 1 with missing label, 1 with hidden label.",
        "No row is of 0, which counts as 0 in macro precision, recall and F1: look at accuracy and at the scores by class.",
    ]


def test_where_nothing_stands_for_hidden_labels_all_labelled_rows_are_taken(folder: Callable[..., Path]) -> None:
    found = read(folder(train=["bad", "good"] * 10, test=["-1"] * 3), CLASSES)
    assert (found.part, len(found.table), found.dropped["hidden label"]) == ("all", 20, 3)


@pytest.mark.parametrize("labels", [["-1", "0", "1"], ["-1", "-1"], ["-1.0", "0.0", "1.0"]])
def test_minus_one_is_a_class_of_the_test_part_where_the_model_knows_it(folder: Callable[..., Path], labels: list[str]) -> None:
    path = folder(train=["0", "1"] * 10, dev=["0", "1"], test=labels)
    found, alone = read(path, SIGNS), read(path / "test.csv", SIGNS)
    assert found.part == "test"
    assert found.table.to_numpy().tolist() == alone.table.to_numpy().tolist()
    assert len(found.table) == len(labels)
    assert not any(found.dropped.values())


def test_minus_one_is_a_label_of_sets_where_the_model_knows_it(folder: Callable[..., Path]) -> None:
    path = folder(train=["0|1", "1"] * 10, dev=["0|1", "1"], test=["-1", "-1|1", ""])
    found = read(path, Problem(("-1", "0", "1"), multi=True), label_separator="|")
    assert found.table["label"].tolist() == [(0,), (0, 2), ()]


def test_numbers_with_a_fraction_are_classes_where_the_model_knows_them(folder: Callable[..., Path]) -> None:
    found = read(folder(test=["0.5", "1.50", "0.5"]) / "test.csv", Problem(("0.5", "1.50")))
    assert found.table["label"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("part", [None, "test"])
def test_the_models_own_classes_may_be_typed_where_a_part_is_cut(folder: Callable[..., Path], part: str | None) -> None:
    """As the advice says that is given without them; in another order than the model's, and not as names for them."""
    path = folder(all=["0.5", "1.50"] * 20) / "all.csv"
    found = read(path, Problem(("0.5", "1.50")), part, labels=("1.50", "0.5"))
    texts, labels = (found.table[name].tolist() for name in ("text", "label"))
    assert labels == [int(text.split()[1]) % 2 for text in texts]
    assert set(labels) == {0, 1}


@pytest.mark.parametrize("part", [None, "test"])
def test_the_models_own_classes_are_matched_by_name_where_they_are_typed(folder: Callable[..., Path], part: str | None) -> None:
    path = folder(all=["Bad", "good"] * 20) / "all.csv"
    found = read(path, CLASSES, part, labels=("good", "bad"))
    assert found.table["label"].tolist() == [int(text.split()[1]) % 2 for text in found.table["text"]]


def test_rows_that_are_left_out_of_a_part_that_is_cut_are_said_too(folder: Callable[..., Path]) -> None:
    path = folder(all=[*["bad", "good"] * 20, ""]) / "all.csv"
    found = read(path, CLASSES, "test")
    assert (len(found.table), found.dropped["missing label"]) == (4, 1)


def test_annotations_that_differ_in_how_a_number_is_written_do_not_differ(write: Write) -> None:
    path = write("a.csv", "text,label\none,1\none,1.0\ntwo,0\nthree,1\nthree,0\n")
    found = read(path, Problem(("0", "1")), annotators="drop")
    assert found.table.to_numpy().tolist() == [["one", 1], ["two", 0]]
    assert {reason: count for reason, count in found.dropped.items() if count} == {
        "differing annotations": 2,
        "repeated annotation": 1,
    }
