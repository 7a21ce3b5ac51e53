import pandas as pd
import pytest

from pipeline.data.cleaning import CleanTables, clean
from pipeline.data.source import SourceTables
from pipeline.errors import DataError


def tidy(classes: tuple[str, ...] | None = None, **labels: list[object]) -> CleanTables:
    """Clean parts of which only the labels matter."""
    parts = {
        part: pd.DataFrame({"text": [f"{part} {row}" for row in range(len(column))], "label": column})
        for part, column in labels.items()
    }
    return clean(SourceTables(parts, classes), "--dataset x")


def numbers(tables: CleanTables) -> dict[str, list[int]]:
    return {part: table["label"].tolist() for part, table in tables.parts.items()}


def test_rows_without_text_or_label_are_dropped_and_counted_and_texts_stripped() -> None:
    table = pd.DataFrame(
        {"text": [" fine ", None, "  ", "dull", "odd", float("nan")], "label": ["pos", "pos", "neg", " neg", None, None]}
    )
    cleaned = clean(SourceTables({"all": table}), "--dataset x")
    assert cleaned.parts["all"].to_numpy().tolist() == [["fine", 1], ["dull", 0]]
    assert cleaned.classes == ("neg", "pos")
    assert cleaned.dropped == {"missing text": 3, "missing label": 1, "hidden label": 0}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["1.0", "0", "-2."], ("-2", "0", "1")),
        (["007", "7", "10"], ("007", "7", "10")),
        (["1.5", "v2", "0.5"], ("0.5", "1.5", "v2")),
        (["pos", "neg"], ("neg", "pos")),
        (["b", "2", "a", "10"], ("2", "10", "a", "b")),
        (["nan", "1", "inf", "0"], ("0", "1", "inf", "nan")),
        ([1.0, 0.0, None], ("0", "1")),
        ([True, False], ("False", "True")),
    ],
)
def test_labels_are_numbered_by_value_whatever_the_order_of_rows(labels: list[object], classes: tuple[str, ...]) -> None:
    for order in (labels, labels[::-1]):
        cleaned = tidy(all=order)
        assert cleaned.classes == classes
        known = [label for label in order if label is not None]
        text = [{"1.0": "1", "-2.": "-2", "0.0": "0"}.get(str(label), str(label)) for label in known]
        assert numbers(cleaned)["all"] == [classes.index(label) for label in text]


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (("negative", "positive"), [0, 1, 1], [0, 1, 1]),
        (("negative", "positive"), ["positive", "negative"], [1, 0]),
        (("negative", "positive"), [1.0, None, 0.0], [1, 0]),
        (("1", "2"), [0, 1, 0], [0, 1, 0]),
        (("1", "2", "3"), [2, 1, 0], [2, 1, 0]),
        (("a", "b", "unused"), [0, 1], [0, 1]),
    ],
)
def test_where_the_source_names_its_classes_labels_are_their_numbers_or_names(
    names: tuple[str, ...], labels: list[object], expected: list[int]
) -> None:
    cleaned = tidy(names, all=labels)
    assert cleaned.classes == names
    assert numbers(cleaned) == {"all": expected}


def test_numbers_agree_across_parts() -> None:
    assert numbers(tidy(train=["b", "c"], validation=["c", "a"])) == {"train": [1, 2], "validation": [2, 0]}


@pytest.mark.parametrize(
    ("classes", "labels", "expected", "hidden"),
    [
        (("a", "b"), {"train": [0, 1], "test": [-1, -1]}, {"train": [0, 1]}, 2),
        (("a", "b"), {"train": [0, 1, -1]}, {"train": [0, 1]}, 1),
        (None, {"train": ["0", "1"], "test": ["-1", "1"]}, {"train": [0, 1], "test": [1]}, 1),
        (None, {"train": ["-1", "1"], "test": ["-1", "1"]}, {"train": [0, 1], "test": [0, 1]}, 0),
    ],
)
def test_withheld_labels_are_dropped_unless_minus_one_is_a_class(
    classes: tuple[str, ...] | None, labels: dict[str, list[object]], expected: dict[str, list[int]], hidden: int
) -> None:
    cleaned = tidy(classes, **labels)
    assert numbers(cleaned) == expected
    assert cleaned.dropped["hidden label"] == hidden


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (None, [None, None], "no row has both a text and a label. Check --text-column and --label-column."),
        (None, ["pos", "pos"], "every row has the label 'pos'. Classification needs two classes or more."),
        (("a", "b"), [1, 1], "every row has the label '1'."),
        (None, [0.5, 1.0, 0.25], "label '0.25' is a number with a fraction. To predict a measure is regression, not"),
        (None, ["0.5", "1"], "label '0.5' is a number with a fraction."),
        (None, ["1e999999999", "1"], "label '1e999999999' is a number with a fraction."),
        (None, [f"id {row}" for row in range(50)], "50 rows hold 50 different labels, such as 'id 0': too many to be classes."),
        (None, ["-1", "-1"], "every label is -1, which marks labels that are hidden."),
        (("a", "b"), [-1, -1], "every label is -1, which marks labels that are hidden."),
        (None, [["a"], ["b"]], "holds list"),
        (None, [{"a": 1}, "b"], "row 1: 'label (all)' holds a dict, not a text or a class."),
        (("a", "b"), [0, 1, 2], "label '2' is none of the classes a, b."),
        (("a", "b"), ["a", "c"], "label 'c' is none of the classes a, b."),
    ],
)
def test_data_that_cannot_be_classified_is_refused(classes: tuple[str, ...] | None, labels: list[object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        tidy(classes, all=labels)
    assert str(caught.value).startswith("--dataset x: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "source", "data", "classes", "numbered"),
    [
        (("E1", "E6", "E3"), None, ["E3", "E1", "E6"], ("E1", "E6", "E3"), [2, 0, 1]),
        (("pos", "neg"), ("neg", "pos"), [0, 1, 1], ("pos", "neg"), [1, 0, 0]),
        (("1.5", "0.5"), None, ["0.5", "1.5"], ("1.5", "0.5"), [1, 0]),
        (("2", "1"), None, [1.0, 2.0, None], ("2", "1"), [1, 0]),
        (("1", "-1"), None, ["-1", "1"], ("1", "-1"), [1, 0]),
        (("b", "a", "unused"), None, ["a", "b"], ("b", "a", "unused"), [1, 0]),
        (tuple(f"id {row}" for row in range(30)), None, [f"id {row}" for row in range(30)], None, list(range(30))),
    ],
)
def test_the_order_of_classes_may_be_given(
    labels: tuple[str, ...],
    source: tuple[str, ...] | None,
    data: list[object],
    classes: tuple[str, ...] | None,
    numbered: list[int],
) -> None:
    table = pd.DataFrame({"text": [f"text {row}" for row in range(len(data))], "label": data})
    cleaned = clean(SourceTables({"all": table}, source), "--dataset x", labels)
    assert cleaned.classes == (classes or labels)
    assert cleaned.parts["all"]["label"].tolist() == numbered


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "b"), "--dataset x: label 'c' is none of --labels a, b. Add it there, or leave such rows out of the data."),
        (("a", "c", "a"), "--labels: 'a' stands twice in a,c,a."),
        (("a",), "--labels: got only 'a'."),
    ],
)
def test_labels_that_do_not_fit_the_data_are_refused(labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        clean(SourceTables({"all": pd.DataFrame({"text": ["x", "y"], "label": ["a", "c"]})}), "--dataset x", labels)
    assert str(caught.value).startswith(message)


def test_parts_of_which_every_label_is_hidden_are_named() -> None:
    assert tidy(("a", "b"), train=[0, 1], test=[-1, -1]).unlabelled == ("test",)
    assert tidy(("a", "b"), train=[0, 1], test=[-1, 1]).unlabelled == ()


def test_further_columns_stay_with_their_rows() -> None:
    table = pd.DataFrame({"text": ["a", "", "b"], "label": ["x", "x", "y"], "group": [1, 2, 3]})
    assert clean(SourceTables({"all": table}), "x").parts["all"]["group"].tolist() == [1, 3]


def test_what_a_model_knows_as_classes_are_classes() -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": ["-1", "0.5", "-1"]})
    cleaned = clean(SourceTables({"test": table}), "--dataset x", known=("-1", "0.5", "1"))
    assert (numbers(cleaned), cleaned.classes) == ({"test": [0, 1, 0]}, ("-1", "0.5"))
    assert not any(cleaned.dropped.values())
    alone = clean(SourceTables({"test": table[::2]}), "--dataset x", known=("-1", "1"))
    assert (numbers(alone), alone.classes) == ({"test": [0, 0]}, ("-1",))
    named = SourceTables({"test": table[::2].assign(label=["-1", "0"])}, ("-1", "1"))
    assert clean(named, "--dataset x", known=("-1", "1")).dropped["hidden label"] == 1, "of the source's own indices"
