import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.labels import NoLabelError, SeveralLabelsError, find_joined, read_label

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("positive", "positive"),
        (" kept as it is ", " kept as it is "),
        ("", None),
        (None, None),
        (float("nan"), None),
        (3, "3"),
        (True, "True"),
        (np.int64(3), "3"),
        ([], None),
        ({}, None),
        ([None], None),
        ([""], None),
        (["positive"], "positive"),
        (["positive", "positive"], "positive"),  # two annotators agree
        ([2], "2"),
        (np.array([2]), "2"),
        (("positive",), "positive"),
        ({"choices": ["positive"]}, "positive"),
        ([{"label": 2, "user": 1}, {"label": 2, "user": 5}], "2"),  # doccano 1.0
        ([{"value": "positive", "status": "submitted"}, {"value": "negative", "status": "discarded"}], "positive"),
        ([{"label": "positive", "score": 0.9}], "positive"),
        ({"positive": 1.0, "negative": 0.0}, "positive"),  # spaCy
        ({"positive": False, "negative": False}, None),
        ('["positive"]', "positive"),
        ("['positive']", "positive"),
        ('{"choices": ["positive"]}', "positive"),
        (" [] ", None),
        ("[2]", "2"),
        ("{'positive'}", "positive"),
        ("[UNK]", "[UNK]"),
        ("[spam] or not", "[spam] or not"),
        ("{curly}", "{curly}"),
        ("[", "["),
        ("{", "{"),
        ("['a\\d']", "a\\d"),
    ],
)
def test_the_label_of_a_cell(cell: object, label: str | None) -> None:
    assert read_label(cell) == label


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        (["a", "b"], ("a", "b")),
        ('["a","b"]', ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("['a' 'b']", ("a", "b")),  # as numpy prints it, which Python reads as ['ab']
        ("['a'\n 'b']", ("a", "b")),
        ("[0 2]", ("0", "2")),
        ('{"choices": ["a", "b"]}', ("a", "b")),
        ({"choices": ["a", "b"]}, ("a", "b")),
        ([0, 1], ("0", "1")),
        (np.array(["a", "b"]), ("a", "b")),
        ([{"label": 1}, {"label": 2}], ("1", "2")),
        ({"a": 1, "b": 1, "c": 0}, ("a", "b")),
    ],
)
def test_several_labels_are_refused_by_name(cell: object, labels: tuple[str, ...]) -> None:
    with pytest.raises(SeveralLabelsError) as caught:
        read_label(cell)
    assert caught.value.labels == labels


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ([[0, 5, "PER"]], "lists within a list"),
        ([{"start": 0, "end": 5, "label": "PER"}], "marked spans"),
        ([{"start_offset": 0, "end_offset": 5, "label": "PER"}], "marked spans"),
        ({"a": None}, "the record"),
        ({"a": 0.7, "b": 0.3}, "the record"),
        ('{"choices": ["a"', "looks like JSON and cannot be read"),
        ('["a"', "looks like JSON and cannot be read"),
        (object(), "an? object"),
    ],
)
def test_what_is_no_label_is_named(cell: object, what: str) -> None:
    with pytest.raises(NoLabelError, match=what):
        read_label(cell)


@given(labels=st.lists(NAMES, max_size=3, unique=True), write=st.sampled_from([json.dumps, repr, lambda names: names]))
def test_lists_are_read_whoever_wrote_them(labels: list[str], write: object) -> None:
    cell = write(labels)  # type: ignore[operator]
    if len(labels) > 1:
        with pytest.raises(SeveralLabelsError) as caught:
            read_label(cell)
        assert caught.value.labels == tuple(labels)
    else:
        assert read_label(cell) == (labels[0] if labels else None)


@given(st.lists(NAMES, max_size=3) | NAMES | st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=2))
def test_no_list_or_record_becomes_the_name_of_a_class(value: object) -> None:
    try:
        label = read_label(json.dumps(value))
    except (SeveralLabelsError, NoLabelError):
        return
    assert label is None or not isinstance(value, (list, dict)) or label in str(value) or label in value


@pytest.mark.parametrize(
    ("labels", "certain", "possible"),
    [
        (["27", "2,10", "3"], {"2,10": ["2", "10"]}, {}),
        (["2", "10", "2,10"], {"2,10": ["2", "10"]}, {}),
        (["joy", "anger", "joy, anger"], {"joy, anger": ["joy", "anger"]}, {}),
        (["toxic", "insult", "toxic|insult"], {"toxic|insult": ["toxic", "insult"]}, {}),
        (["joy", "anger", "anger#joy"], {"anger#joy": ["anger", "joy"]}, {}),  # doccano's CSV
        (["joy", "joy;fear"], {}, {"joy;fear": ["joy", "fear"]}),
        (["a;b", "b;c", "d"], {}, {"a;b": ["a", "b"], "b;c": ["b", "c"]}),
        (["yes, please", "no"], {}, {}),
        (["C#", "C", "F#"], {}, {}),
        (["0,5", "1,5"], {}, {"0,5": ["0", "5"], "1,5": ["1", "5"]}),
        (["pos", "neg"], {}, {}),
    ],
)
def test_labels_that_are_several_in_one(
    labels: list[str], certain: dict[str, list[str]], possible: dict[str, list[str]]
) -> None:
    assert find_joined(labels) == (certain, possible)
