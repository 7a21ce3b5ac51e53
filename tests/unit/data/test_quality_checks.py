import pandas as pd

from pipeline.data.quality_checks import audit


def table(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["text", "label"])


def test_duplicates_within_and_across_splits_and_conflicting_labels_are_counted() -> None:
    found = audit(
        {
            "train": table(("a", 0), ("a", 0), ("a", 1), ("b", 0), ("c", 1)),
            "validation": table(("b", 0), ("b", 0), ("d", 1)),
            "test": table(("c", 0), ("d", 1), ("e", 1), ("B", 0)),
        }
    )
    assert found == {
        "duplicates_within": {"train": 2, "validation": 1, "test": 0},
        "duplicates_across": {"train/validation": 1, "train/test": 1, "validation/test": 1},
        "conflicting_labels": 2,
    }


def test_clean_splits_have_nothing_to_report() -> None:
    found = audit({"train": table(("a", 0)), "validation": table(("b", 1)), "test": table(("c", 0))})
    assert [*found["duplicates_within"].values(), *found["duplicates_across"].values(), found["conflicting_labels"]] == [0] * 7
