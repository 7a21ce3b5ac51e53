"""What annotation tools say of a row beside its label, in files as these tools write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import SplitConfig
from pipeline.data.annotations.records import as_rows
from pipeline.data.prepared import Manifest, prepare
from pipeline.errors import DataError
from pipeline.stages.prepare_data import summarise_data

Write = Callable[[str, str | bytes], Path]
LABELS = ("positive", "negative")


def records(answers: tuple[str, ...] = ("accept",), rows: int = 60) -> list[dict[str, Any]]:
    """Rows with a label, and an answer each in turn."""
    return [
        {"text": f"text {row}", "label": LABELS[row // len(answers) % 2], "answer": answers[row % len(answers)]}
        for row in range(rows)
    ]


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def prepared(path: Path, **options: object) -> Manifest:
    return prepare(str(path), SplitConfig(cache_dir=str(path.parent / "cache"), **options))[0].manifest


def rows_of(manifest: Manifest) -> int:
    return sum(manifest.rows.values())


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "saved"])
def test_rejected_and_ignored_annotations_are_no_examples_of_their_label(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame(records(("accept", "accept", "reject", "ignore")))
    path = tmp_path / f"a.{kind}"
    if kind == "saved":
        from datasets import Dataset

        Dataset.from_pandas(table).save_to_disk(str(path))
    elif kind == "parquet":
        table.to_parquet(path)
    elif kind == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_json(path, orient="records", lines=kind == "jsonl")
    manifest = prepared(path)
    assert rows_of(manifest) == 30
    assert {reason: count for reason, count in manifest.dropped.items() if count} == {
        "rejected annotation": 15,
        "ignored annotation": 15,
    }


def test_the_rows_that_are_left_out_are_said_by_reason_and_in_all(write: Write) -> None:
    rows = [*records(("accept", "reject")), {"text": "no label", "answer": "accept"}]
    data, _ = prepare(str(write("a.jsonl", as_lines(rows))), SplitConfig(cache_dir=str(write("x", "").parent / "cache")))
    said = [line for line in summarise_data(data) if "Dropped" in line]
    assert said == ["  Dropped rows: 31 in all, 30 with rejected annotation, 1 with missing label."]


def test_a_column_called_answer_that_holds_something_else_is_no_verdict(write: Write) -> None:
    rows = records(("accept", "reject"))
    rows[-1]["answer"] = "forty-two"
    assert rows_of(prepared(write("a.jsonl", as_lines(rows)))) == 60


@pytest.mark.parametrize("role", ["label", "text"])
def test_a_column_called_answer_may_be_the_label_or_the_text(write: Write, role: str) -> None:
    words = ("accept", "reject")
    rows = [{"text": f"text {row}", "label": words[row % 2]} for row in range(40)]
    rows = [{("answer" if name == role else name): value for name, value in row.items()} for row in rows]
    assert rows_of(prepared(write("a.jsonl", as_lines(rows)), **{f"{role}_column": "answer"})) == 40


def test_choices_of_prodigy_are_found_and_several_in_a_rejected_row_do_not_matter(write: Write) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"text {row}", "options": [{"id": name} for name in LABELS], "accept": [LABELS[row % 2]], "answer": "accept"}
        for row in range(40)
    ]
    rows[3] |= {"accept": list(LABELS), "answer": "reject"}
    rows[5] |= {"accept": []}
    manifest = prepared(write("a.jsonl", as_lines(rows)))
    assert (rows_of(manifest), manifest.classes) == (38, ["negative", "positive"])
    assert (manifest.dropped["rejected annotation"], manifest.dropped["missing label"]) == (1, 1)
    rows[3] |= {"answer": "accept"}
    with pytest.raises(DataError, match=r"row 4: 'accept' holds 2 labels \(positive, negative\); one class per text is needed"):
        prepared(write("b.jsonl", as_lines(rows)))


def test_where_all_are_rejected_it_is_said(write: Write) -> None:
    with pytest.raises(DataError, match=r"no row of those whose annotation was accepted \(60 were not\) has both a text"):
        prepared(write("a.jsonl", as_lines(records(("reject",)))))


def test_scores_are_left_out_likewise(write: Write) -> None:
    rows = [{**row, "label": number % 7 / 2} for number, row in enumerate(records(("accept", "accept", "reject")))]
    assert rows_of(prepared(write("a.jsonl", as_lines(rows)), label_type="score")) == 40


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_discarded_response_of_argilla_is_left_out(tmp_path: Path, ending: str) -> None:
    table = pd.DataFrame(
        {
            "text": [f"text {row}" for row in range(40)],
            "label.responses": [[LABELS[row % 2]] for row in range(40)],
            "label.responses.status": [["discarded" if row < 4 else "submitted"] for row in range(40)],
        }
    )
    path = tmp_path / f"a{ending}"
    if ending == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif ending == ".csv":
        table.to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pandas(table), path)
    manifest = prepared(path, label_column="label.responses")
    assert (rows_of(manifest), manifest.dropped["discarded annotation"]) == (36, 4)


def test_argillas_own_json_does_not_say_what_was_discarded_and_is_refused(write: Write) -> None:
    rows = [
        {"id": row, "fields": {"text": f"text {row}"}, "suggestions": {}, "responses": {"label": [{"value": LABELS[row % 2]}]}}
        for row in range(40)
    ]
    with pytest.raises(DataError, match=r"is Argilla's own JSON, .*to_list\(flatten=True\)"):
        prepared(write("a.json", json.dumps(rows)))


def task(number: int, *choices: list[str], **annotation: object) -> dict[str, Any]:
    """A task of Label Studio's full export, with an annotation for each list of choices."""
    results = [
        [{"from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": chosen}}] if chosen else []
        for chosen in choices
    ]
    annotations = [{"id": place, "result": result, **annotation} for place, result in enumerate(results)]
    return {"id": number, "data": {"text": f"text {number}"}, "annotations": annotations, "predictions": []}


def test_label_studios_full_export_is_read(write: Write) -> None:
    tasks = [task(number, [LABELS[number % 2]]) for number in range(40)]
    tasks += [task(40), task(41, []), task(42, ["positive"], was_cancelled=True), task(43, ["positive"], ["positive"])]
    manifest = prepared(write("a.json", json.dumps(tasks)))
    assert (rows_of(manifest), manifest.classes) == (42, ["negative", "positive"])
    assert (manifest.dropped["ignored annotation"], manifest.dropped["missing label"]) == (1, 2)
    assert rows_of(prepared(write("c.json", json.dumps([*tasks, task(44, ["positive"], ["negative"])])))) == 44
    with pytest.raises(DataError, match=r"row 45 \(task 44\): 'sentiment' holds 2 labels"):
        prepared(write("b.json", json.dumps([*tasks, task(44, ["positive", "negative"])])))


def test_an_older_export_of_label_studio_is_read_likewise() -> None:
    old = task(1, ["positive"])
    old["completions"] = old.pop("annotations")
    assert as_rows(old) == [{"text": "text 1", "sentiment": ["positive"], "annotation_id": 0}]
    assert as_rows({"text": "a", "data": "b"}) == [{"text": "a", "data": "b"}]
    old["data"]["sentiment"] = "what a model had said"
    assert as_rows(old)[0]["sentiment"] == ["positive"]


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("a.csv", 'text,label\na,x\nb,"{""choices"": [""x"", ""y""]}"\nc,y\n', "row 3 (row 2 below the header)"),
        ("a.csv", 'sep=;\ntext;label\na;x\nb;"[""x"",""y""]"\nc;y\n', "row 4 (row 2 below the header)"),
        ("a.json", '[{"text": "a", "label": "x"}, {"text": "b", "label": {"choices": ["x", "y"]}}]', "row 2"),
        ("a.jsonl", '{"text": "a", "label": ["x"]}\n{"text": "b", "label": ["x", "y"]}\n', "row 2"),
        ("a.tsv", "text\tlabel\na\tx\nb\t['x' 'y']\n", "row 3 (row 2 below the header)"),
    ],
)
def test_a_row_with_several_labels_is_named(write: Write, name: str, content: str, row: str) -> None:
    path = write(name, content)
    with pytest.raises(DataError) as caught:
        prepared(path)
    assert str(caught.value) == (
        f"--dataset {path}: {row}: 'label' holds 2 labels (x, y); one class per text is needed. If texts have several labels, "
        "add --label-type multi; else keep one in each row, or leave such rows out."
    )


def test_all_rows_with_several_labels_are_counted(write: Write) -> None:
    rows = [{"text": f"text {row}", "label": ["x", "y"]} for row in range(3)]
    with pytest.raises(DataError, match=r"row 1: .* as do 2 more rows;"):
        prepared(write("a.jsonl", as_lines(rows)))


def test_joined_labels_are_refused_by_name_and_may_be_declared_classes(write: Write) -> None:
    written = ("27", "3", '"2,10"')
    rows = "".join(f"text {row},{written[row % 3]}\n" for row in range(60))
    path = write("a.csv", "text,label\n" + rows)
    with pytest.raises(
        DataError, match=r"label '2,10' \(row 3 of the data, 20 rows in all\) seems to be several labels, 2 and"
    ):
        prepared(path)
    assert prepared(path, labels=["2,10", "3", "27"]).classes == ["2,10", "3", "27"]
    named = "".join(f"text {row},{('joy', 'joy;fear', 'rage')[row % 3]}\n" for row in range(60))
    notes = prepared(write("b.csv", "text,label\n" + named)).notes
    assert notes == [
        "Class 'joy;fear' holds what looks like several labels (joy, fear): if so, keep one in each row, for one class per "
        "text is needed."
    ]
