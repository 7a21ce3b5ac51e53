"""Files that annotation tools made themselves are read by their own shape; `tool_files/README.md` says how each was made."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import SplitConfig
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.source import find_source
from pipeline.errors import DataError

FILES = Path(__file__).parent / "tool_files"
LABEL_STUDIO = ("label_studio.json", "label_studio_min.json", "label_studio.csv")


def prepared(name: str, cache: Path, **options: object) -> Manifest:
    return prepare(str(FILES / name), SplitConfig(cache_dir=str(cache), **options))[0].manifest


def rows(name: str, **options: object) -> pd.DataFrame:
    return find_source(str(FILES / name), SplitConfig(**options)).read().parts["all"]


def by_class(manifest: Manifest) -> dict[str, int]:
    counts = [sum(split[place] for split in manifest.rows_by_class.values()) for place in range(len(manifest.classes))]
    return dict(zip(manifest.classes, counts, strict=True))


def left_out(manifest: Manifest) -> dict[str, int]:
    return {reason: count for reason, count in manifest.dropped.items() if count}


@pytest.mark.parametrize("name", LABEL_STUDIO)
def test_label_studios_files_hold_a_row_an_annotation(name: str, tmp_path: Path) -> None:
    manifest = prepared(name, tmp_path, text_column="review", label_column="sentiment")
    assert by_class(manifest) == {"negative": 26, "positive": 20}
    # The converter leaves skipped annotations out itself.
    assert left_out(manifest) == {"missing label": 1} | ({"ignored annotation": 1} if name == "label_studio.json" else {})
    assert manifest.audit["duplicates_across"] == {"train/validation": 0, "train/test": 0, "validation/test": 0}
    assert [note for note in manifest.notes if "8 texts have several annotations, 16 in all, and 4 of these" in note]


@pytest.mark.parametrize("name", LABEL_STUDIO)
def test_the_first_annotation_is_the_one_made_first_though_the_converter_writes_the_newest_first(
    name: str, tmp_path: Path
) -> None:
    manifest = prepared(name, tmp_path, text_column="review", label_column="sentiment", annotators="first")
    assert by_class(manifest) == {"negative": 18, "positive": 20}
    assert manifest.dropped["repeated annotation"] == 8


@pytest.mark.parametrize("name", LABEL_STUDIO)
def test_ratings_are_read_as_scores(name: str) -> None:
    assert set(rows(name, text_column="review", label_column="stars")["label"].dropna()) == {"4", "2"}


@pytest.mark.parametrize(("name", "place"), [("label_studio.json", "row 2 (task 2)"), ("label_studio_min.json", "row 3")])
def test_several_choices_are_refused_with_the_place_and_the_option(name: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepared(name, tmp_path, text_column="review", label_column="topics")
    assert f"{place}: 'topics' holds 2 labels (plot, cast)" in str(caught.value)
    assert "add --label-type multi" in str(caught.value)


@pytest.mark.parametrize("kind", ["jsonl", "fasttext"])
def test_doccanos_file_for_each_annotator_is_one_table(kind: str, tmp_path: Path) -> None:
    name = f"doccano_by_annotator_{kind}.zip"
    manifest = prepared(name, tmp_path)
    assert (by_class(manifest), left_out(manifest)) == ({"negative": 20, "positive": 11}, {"missing label": 17})
    assert [note for note in manifest.notes if "8 texts have several annotations" in note]
    texts = rows(name)["text"].tolist()
    assert 'review 0 of a film, and "more"' in texts
    assert "review 6 of a film\nsecond line" in [text.replace("\r\n", "\n") for text in texts]
    assert "review 2 of a film" in texts  # without the comment that doccano writes after it


def test_doccanos_shared_labels_are_read(tmp_path: Path) -> None:
    manifest = prepared("doccano_shared_jsonl.zip", tmp_path)
    assert by_class(manifest) == {"negative": 12, "positive": 11}  # two annotators agree on one, and it stands there twice
    assert left_out(manifest) == {"missing label": 1}


def test_argillas_records_hold_a_row_a_response_and_their_columns_are_found(tmp_path: Path) -> None:
    manifest = prepared("argilla.json", tmp_path, text_column="review")
    assert (sum(manifest.rows.values()), left_out(manifest)) == (31, {"discarded annotation": 5, "missing label": 1})
    assert [note for note in manifest.notes if "8 texts have several annotations, 16 in all, and 4 of these" in note]
    assert sum(prepared("argilla.json", tmp_path, text_column="review", annotators="drop").rows.values()) == 19


@pytest.mark.parametrize("ending", [".csv", ".parquet", "saved"])
def test_argillas_records_are_read_alike_in_other_formats(ending: str, tmp_path: Path) -> None:
    table, path = pd.read_json(FILES / "argilla.json"), tmp_path / f"a{ending}"
    if ending == ".csv":
        table.to_csv(path, index=False)
    elif ending == ".parquet":
        table.to_parquet(path)
    else:
        from datasets import Dataset

        Dataset.from_pandas(table).save_to_disk(str(path))
    kept = ["text", "label", "answer", "annotation"]
    read = find_source(str(path), SplitConfig(text_column="review")).read().parts["all"][kept].fillna("")
    expected = rows("argilla.json", text_column="review")[kept].fillna("")
    assert read.to_numpy().tolist() == expected.to_numpy().tolist()


def test_prodigys_choices_by_two_annotators_are_read(tmp_path: Path) -> None:
    manifest = prepared("prodigy.jsonl", tmp_path)
    assert left_out(manifest) == {"rejected annotation": 1, "ignored annotation": 1}
    assert (sum(manifest.rows.values()), len(manifest.notes)) == (38, 1)
    majority = prepared("prodigy.jsonl", tmp_path, annotators="majority")
    assert left_out(majority) == {
        "rejected annotation": 1,
        "ignored annotation": 1,
        "tied annotations": 10,
        "repeated annotation": 5,
    }
    assert sum(majority.rows.values()) == 23
