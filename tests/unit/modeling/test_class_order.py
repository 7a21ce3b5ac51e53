"""Outputs of a ready classifier, matched with the classes of the data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.modeling.class_order import NEW, order_outputs

TWO = ("negative", "positive")


def order(names, classes=TWO, labels=(), outputs=None):
    named = {str(index): name for index, name in enumerate(names)}
    return order_outputs("m", {"id2label": named} if names else {}, outputs or len(names), classes, labels)


@pytest.mark.parametrize(
    ("names", "classes", "rows"),
    [
        (TWO, TWO, (0, 1)),
        (("POSITIVE", "NEGATIVE"), TWO, (1, 0)),
        (("Positive ", "Negative"), TWO, (1, 0)),
        (("very_good", "so so", "BAD"), ("bad", "so-so", "very good"), (2, 1, 0)),
        (("LABEL_1", "LABEL_0"), ("0", "1"), (1, 0)),
        (("1", "0"), ("0", "1"), (1, 0)),
        (("1", "-1"), ("-1", "1"), (1, 0)),
        (("a", "A"), ("A", "a"), (1, 0)),
        (("STRASSE", "weg"), ("straße", "Weg"), (0, 1)),
        (("\uff21", "b"), ("a", "b"), (0, 1)),
    ],
    ids=str,
)
def test_names_that_are_the_same_are_matched(names, classes, rows):
    assert order(names, classes).rows == rows


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("bad", "good"), TWO),
        (("LABEL_1", "LABEL_0"), TWO),
        (("c", "c"), ("c#", "c++")),
        (("entailment", "neutral", "contradiction"), ("a", "b", "c")),
    ],
    ids=str,
)
def test_of_other_names_a_new_classifier_is_drawn_and_said(names, classes):
    found = order(names, classes)
    assert found.rows is None
    assert "so a new one is drawn. To keep it, give --model-labels" in found.note


@pytest.mark.parametrize("names", [(), ("LABEL_0", "LABEL_1"), ("0", "1")], ids=str)
def test_what_is_assumed_of_outputs_without_names_is_said(names):
    found = order(names, outputs=2)
    assert found.rows == (0, 1)
    assert "taken for negative, positive, in this order. If it is another, give --model-labels" in found.note


def test_a_number_is_not_matched_with_its_negative():
    assert "does not name its classifier's outputs" in order(("0", "1"), ("-1", "0")).note


def test_nothing_is_assumed_where_numbers_are_the_classes():
    assert order(("LABEL_0", "LABEL_1"), ("0", "1")).note == ""


def test_names_stand_in_either_entry_of_the_config():
    found = order_outputs("m", {"label2id": {"POSITIVE": 0, "NEGATIVE": 1}}, 2, TWO, ())
    assert found.rows == (1, 0)


@pytest.mark.parametrize("named", [[], "x", {"a": "b"}, {"0": "a"}, {"0": "a", "2": "b"}, None], ids=str)
def test_a_config_that_names_not_all_of_them_names_none(named):
    assert "does not name" in order_outputs("m", {"id2label": named}, 2, TWO, ()).note


def test_another_number_of_classes_is_a_new_classifier():
    found = order(("a", "b", "c"))
    assert found.rows is None
    assert "has 3 outputs and the data 2 classes, so a new one is drawn" in found.note


def test_what_is_typed_beats_the_names():
    assert order(("positive", "negative"), labels=("negative", "positive")).rows == (0, 1)
    assert order(("x", "y"), labels=("positive", "negative")).rows == (1, 0)


@pytest.mark.parametrize(("outputs", "has"), [(None, "no trained classifier"), (3, "a classifier with 3 outputs")])
def test_labels_for_outputs_that_are_not_there_are_refused(outputs, has):
    with pytest.raises(ConfigError, match=rf"--model-labels negative, positive: m has {has}\. Leave --model-labels out"):
        order_outputs("m", {}, outputs, TWO, TWO)
    assert order_outputs("m", {}, None, TWO, ()) == NEW


@given(st.permutations(["joy", "anger", "fear", "love"]))
def test_any_order_is_brought_into_that_of_the_data(names):
    classes = ("anger", "fear", "joy", "love")
    rows = order([name.upper() for name in names], classes).rows
    assert rows is not None
    assert tuple(names[row] for row in rows) == classes
    assert rows == order((), classes, labels=names, outputs=4).rows
