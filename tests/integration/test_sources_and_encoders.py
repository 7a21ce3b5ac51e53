"""Every kind of source with a sample of encoders, from the command line to test scores: the table of docs/reference/data.md."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipeline.data.sources import hub as hub_source
from pipeline.hub import Snapshot
from pipeline.modeling import model_sources
from pipeline.modeling.family import list_model_types

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "data.md"
Options = dict[str, object]


def rows(part: str = "", amount: int = 30) -> pd.DataFrame:
    both = [(row, word) for row in range(amount) for word in ("fine", "dull")]
    return pd.DataFrame(
        {"text": [f"the {part} film {row} is {word}" for row, word in both], "label": [f"{word} film" for _, word in both]}
    )


def csv(folder: Path) -> Options:
    rows().to_csv(folder / "reviews.csv", index=False)
    return {"dataset": folder / "reviews.csv"}


def tsv(folder: Path) -> Options:
    rows().to_csv(folder / "reviews.tsv", index=False, sep="\t")
    return {"dataset": folder / "reviews.tsv"}


def json_lines(folder: Path) -> Options:
    rows().to_json(folder / "reviews.jsonl", orient="records", lines=True)
    return {"dataset": folder / "reviews.jsonl"}


def parquet(folder: Path) -> Options:
    rows().to_parquet(folder / "reviews.parquet")
    return {"dataset": folder / "reviews.parquet"}


def compressed(folder: Path) -> Options:
    (folder / "reviews.csv.gz").write_bytes(gzip.compress(rows().to_csv(index=False).encode()))
    return {"dataset": folder / "reviews.csv.gz"}


def a_file_a_part(folder: Path) -> Options:
    (folder / "parts").mkdir()
    for part, amount in (("train", 30), ("validation", 5), ("test", 5)):
        rows(part, amount).to_csv(folder / "parts" / f"{part}.csv", index=False)
    return {"dataset": folder / "parts", "split": "official"}


def part_files(folder: Path) -> Options:
    rows("one").to_csv(folder / "mine.csv", index=False)
    rows("other", 5).rename(columns={"text": "sentence"}).to_parquet(folder / "theirs.parquet")
    return {"train_file": folder / "mine.csv", "test_file": folder / "theirs.parquet"}


def glue(folder: Path) -> Options:
    (folder / "SST-2").mkdir()
    for part, amount in (("train", 30), ("dev", 5)):
        table = rows(part, amount).rename(columns={"text": "sentence"})
        table.assign(label=(table["label"] == "fine film").astype(int)).to_csv(
            folder / "SST-2" / f"{part}.tsv", sep="\t", index=False
        )
    pd.DataFrame({"index": [0, 1], "sentence": ["the film", "a plot"]}).to_csv(
        folder / "SST-2" / "test.tsv", sep="\t", index=False
    )
    return {"dataset": folder / "SST-2", "split": "official"}


def save_with_class_names(folder: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["dull", "fine"])})
    parts = {}
    for part, amount in (("train", 30), ("test", 5)):
        table = rows(part, amount)
        table["label"] = (table["label"] == "fine film").astype(int)
        parts[part] = datasets.Dataset.from_pandas(table, features=features)
    datasets.DatasetDict(parts).save_to_disk(folder)


def saved(folder: Path) -> Options:
    save_with_class_names(folder / "saved")
    return {"dataset": folder / "saved", "split": "official"}


def packaged(folder: Path) -> Options:
    return {"dataset": "rotten_tomatoes"}


def hub(folder: Path) -> Options:
    (folder / "hub").mkdir()
    rows().to_csv(folder / "hub" / "train.csv", index=False)
    return {"dataset": "somebody/reviews"}


SOURCES: dict[str, Callable[[Path], Options]] = {
    "CSV file": csv,
    "TSV file": tsv,
    "JSON lines": json_lines,
    "Parquet file": parquet,
    "compressed CSV": compressed,
    "folder, a file a part": a_file_a_part,
    "part files of two formats": part_files,
    "folder in GLUE's layout": glue,
    "saved by `datasets`": saved,
    "packaged": packaged,
    "hub id, the download replaced": hub,
}
# Every source at least once, and families that read text in different ways.
PAIRS = [
    ("CSV file", "distilbert"),
    ("TSV file", "roberta"),
    ("JSON lines", "xlm-roberta"),
    ("Parquet file", "electra"),
    ("compressed CSV", "albert"),
    ("folder, a file a part", "modernbert"),
    ("part files of two formats", "bert"),
    ("folder in GLUE's layout", "bert"),
    ("saved by `datasets`", "albert"),
    ("packaged", "distilbert"),
    ("hub id, the download replaced", "xlm-roberta"),
]


def test_every_source_is_run_and_documented() -> None:
    assert {source for source, _ in PAIRS} == set(SOURCES)
    assert {family for _, family in PAIRS} <= set(list_model_types())  # `test_encoders` runs each of them
    section = DOCUMENT.read_text().split("## What is run end to end")[1].split("\n## ")[0]
    assert [(source, family) for source, family in re.findall(r"^\| ([^|]+) \| `([a-z-]+)` \|", section, re.M)] == PAIRS


@pytest.mark.parametrize(("source", "family"), PAIRS, ids=[f"{source} x {family}" for source, family in PAIRS])
def test_data_are_prepared_trained_on_and_tested_on(workspace, tiny, tmp_path, monkeypatch, source, family):
    model: Path | str = tiny.folder(family)
    if source.startswith("hub"):
        monkeypatch.setattr(hub_source, "fetch_snapshot", lambda *given: Snapshot(tmp_path / "hub", "c0ffee"))
        monkeypatch.setattr(model_sources, "fetch_snapshot", lambda *given, folder=model: Snapshot(folder, "decaf"))
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub-cache")
        model = "somebody/encoder"
    elif family == "xlm-roberta":  # as some come: a SentencePiece model and no tokenizer.json
        model = shutil.copytree(model, tmp_path / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (model / name).unlink()
        tiny.write_sentencepiece(model, family)
    data = SOURCES[source](tmp_path)
    prepared = workspace.cli("prepare_data", **data, model=model)
    assert prepared.exit_code == 0, prepared.output
    options = {"strategy": "full", "epochs": 1, "batch_size": 8, "max_train_samples": 64, "max_eval_samples": 32}
    trained = workspace.cli("train", **data, **options, model=model, precision="fp32")
    assert trained.exit_code == 0, trained.output
    run_id = re.search(r"Run ([0-9a-f]{32})\. Next:", trained.output)[1]
    evaluated = workspace.cli("evaluate", run_id=run_id)
    assert evaluated.exit_code == 0, evaluated.output
    run = workspace.tracker.get(run_id)
    assert run.status == "FINISHED"
    assert 0 <= run.metrics["test/f1_macro"] <= 1
    record = json.loads((workspace.tracker.download_model(run_id, tmp_path / "down") / "model.json").read_text())
    names = {
        "packaged": ["negative", "positive"],
        "saved by `datasets`": ["dull", "fine"],
        "folder in GLUE's layout": ["0", "1"],
    }
    assert record["classes"] == names.get(source, ["dull film", "fine film"])


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_folder_of_the_library_datasets_is_answered(workspace, tmp_path, damage):
    save_with_class_names(tmp_path / "saved")
    [file] = (tmp_path / "saved" / "train").glob("*.arrow")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        file.unlink()
    result = workspace.cli("prepare_data", dataset=tmp_path / "saved", model=workspace.options["model"])
    assert result.exit_code == 2, result.output
    assert f"--dataset {tmp_path / 'saved'}: " in result.output
    assert "Save it again with save_to_disk." in result.output
    assert "Traceback" not in result.output
