"""Recipes that come with the project run to the end on tiny encoders, under the names of their entries."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import CompareConfig, MainConfig
from pipeline.data.prepared import prepare
from pipeline.recipes.recipe import load_recipe
from pipeline.stages import compare, main
from pipeline.stages.configure import configure_strategy
from pipeline.tracking.tags import Tag
from pipeline.training.setup import find_strategy

LABELS = ("E1", "E6", "E3", "E5", "E2", "E4")
NAMES = ("분노", "기쁨", "불안", "상처", "슬픔", "당황")


def write_emotions(path: Path, labels: tuple[str, ...]) -> Path:
    """A file of the Korean study's form: twenty texts a class, two rows without text, and a column that nobody needs."""
    rows = [
        f"{number},{label},오늘 {number}번째로 {name} 느낌"
        for number in range(20)
        for label, name in zip(labels, NAMES, strict=True)
    ]
    rows += [f"120,{labels[0]},", f'121,{labels[1]},"  "']
    path.write_text("id,label,HS01\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def runs_of(workspace, study):
    return {
        run.tags.get(Tag.ENTRY) or run.tags["strategy"]: run
        for run in workspace.tracker.search()
        if run.parent_id == study and run.stage == "train"
    }


def test_every_entry_of_every_recipe_can_train_on_packaged_parts(workspace):
    checked = []
    for recipe in ("layerwise", "korean_emotion"):
        study = workspace.config(MainConfig, recipe=recipe, model="minilm", dataset="rotten_tomatoes")
        for entry in load_recipe(recipe).strategies:
            find_strategy(configure_strategy(study, entry))
            checked.append(entry)
    assert len(checked) >= 14


@pytest.mark.slow
def test_entries_of_one_strategy_stand_in_one_table_under_their_names(workspace):
    chosen = ("freeze_6", "freeze_9", "three_rates")
    config = workspace.config(
        MainConfig,
        recipe="layerwise",
        **workspace.options_of_data(),
        strategies=",".join(chosen),
        epochs=1,
        seeds=1,
        export_dir="layers",
    )
    result = main.run(config)
    found = runs_of(workspace, result.run_id)
    assert set(found) == set(chosen)
    assert {run.name for run in found.values()} == {f"{entry}-seed42" for entry in chosen}
    table = result.comparison.table.set_index("entry")
    assert table["strategy"].to_dict() == {
        "freeze_6": "freeze_bottom",
        "freeze_9": "freeze_bottom",
        "three_rates": "discriminative",
    }
    assert table["changed_arguments"].to_dict() == {
        "freeze_6": "",
        "freeze_9": "bottom=0.75",
        "three_rates": "table=three_rates",
    }
    assert table.loc["freeze_9", "trainable_percent"] < table.loc["freeze_6", "trainable_percent"] < 100
    results = Path("layers/results")
    assert {path.name for path in results.glob("*_test_outputs.csv")} == {f"{entry}_test_outputs.csv" for entry in chosen}
    assert {path.name for path in Path("layers/models").iterdir()} == set(chosen)
    assert (results / "training_curves.png").stat().st_size > 5000
    summary = pd.read_csv(results / "model_summary.csv")
    assert set(summary["strategy"]) == {"freeze_bottom", "discriminative"}
    again = compare.run(CompareConfig(study=result.run_id))
    assert set(again.table["entry"]) == set(chosen)


def test_an_unknown_entry_is_answered_with_the_nearest_of_the_recipe(workspace):
    before = len(workspace.tracker.search())
    result = workspace.cli("main", recipe="layerwise", strategies="freze_6,full", model="minilm", dataset="rotten_tomatoes")
    assert result.exit_code == 2
    assert "Unknown strategy 'freze_6'. Did you mean 'freeze_6'?" in result.output
    assert len(workspace.tracker.search()) == before


@pytest.mark.slow
@pytest.mark.parametrize(("family", "labels"), [("bert", LABELS), pytest.param("xlm-roberta", NAMES, marks=pytest.mark.slow)])
def test_the_korean_study_runs_on_a_file_of_its_form(workspace, tiny, tmp_path, capfd, family, labels):
    file = write_emotions(tmp_path / "감정.csv", labels)
    config = workspace.config(
        MainConfig,
        recipe="korean_emotion",
        dataset=str(file),
        model=str(tiny.folder(family)),
        epochs=2,
        seeds=1,
        precision="fp32",
        **({} if labels == LABELS else {"labels": ",".join(labels)}),
    )
    result = main.run(config)
    found = runs_of(workspace, result.run_id)
    assert set(found) == {"full", "attention", "lora"}
    assert {name: float(run.params["weight_decay"]) for name, run in found.items()} == {
        "full": 2e-5,
        "attention": 1e-5,
        "lora": 2e-5,
    }
    prepared, reused = prepare(str(file), configure_strategy(config, "full"))
    assert reused
    manifest = prepared.manifest
    assert tuple(manifest.classes) == labels, "the study's order"
    assert (manifest.rows, sum(manifest.dropped.values())) == ({"train": 84, "validation": 12, "test": 24}, 2)
    run = found["attention"]
    parameters = pd.read_csv(workspace.tracker.download(run.run_id, "parameters.csv", tmp_path))
    assert parameters["trains"].nunique() == 2, "every parameter, and whether it trains"
    predictions = pd.read_csv(workspace.tracker.download(run.run_id, "predictions.csv", tmp_path))
    assert set(predictions["gold"]) == set(labels)
    assert "missing from font" not in capfd.readouterr().err
