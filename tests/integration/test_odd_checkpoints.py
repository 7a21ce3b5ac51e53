"""Checkpoints as people have them, through the stages: an adapter, a folder of sentence-transformers, the Trainer's output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pytest
import torch

from pipeline.config import EvaluateConfig, TrainConfig, TuneConfig
from pipeline.config.fields import as_dict
from pipeline.stages import evaluate
from pipeline.training.saved_model import load_model_folder, read_record
from pipeline.training.setup import find_inputs

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def adapter(workspace, tmp_path_factory) -> Path:
    """A LoRA adapter that peft saved, with a classifier that has learnt the data."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    run_id = workspace.train(strategy="full", epochs=8)
    scratch = tmp_path_factory.mktemp("adapter")
    model = load_model_folder(workspace.tracker.download_model(run_id, scratch / "own")).model
    model.save_pretrained(scratch / "base")
    shutil.copytree(
        workspace.options["model"], scratch / "base", dirs_exist_ok=True, ignore=lambda *_: {"model.safetensors", "config.json"}
    )
    base = AutoModelForSequenceClassification.from_pretrained(scratch / "base")
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
    get_peft_model(base, config).save_pretrained(scratch / "checkpoint-500")
    return scratch / "checkpoint-500"


def test_an_adapter_is_a_row_of_the_table(workspace, adapter, capsys) -> None:
    result = workspace.cli("evaluate", model=adapter, dataset=workspace.options["dataset"])
    assert result.exit_code == 0, result.output
    assert f"a peft adapter (LORA), merged into {adapter.parent / 'base'}" in " ".join(result.output.split())
    [run] = workspace.tracker.search({"strategy": "external"})
    assert (run.name, run.metrics["test/accuracy"] > 0.9) == ("external-checkpoint-500", True)
    assert run.metrics["model/total_params"] == sum(t.numel() for t in weights(adapter.parent / "base").values())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_an_adapter_is_trained_on_and_found_again_without_the_cache(workspace, adapter, tmp_path, capsys) -> None:
    run_id = workspace.train(model=adapter, strategy="lora", epochs=1, learning_rate="1e-5")
    assert "a peft adapter (LORA), merged into" in capsys.readouterr().out
    assert workspace.tracker.history(run_id, "val/accuracy")[0][1] > 0.8, "it starts from the adapter's own classifier"
    folder = workspace.tracker.download_model(run_id, tmp_path)
    record = read_record(folder)
    assert (record.base, record.adapter_base) == (str(adapter), str(adapter.parent / "base"))
    expected = workspace.evaluate(run_id).test
    shutil.rmtree(workspace.folder / ".cache" / "merged_adapters")
    from pipeline.modeling import merged_adapters

    merged_adapters._merge_once.cache_clear()
    answer = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(["the fine film"])
    assert set(answer["label"]) <= {"bad", "good"}
    assert not (workspace.folder / ".cache" / "merged_adapters").exists(), "what serves leaves no cache"
    assert workspace.evaluate(run_id, force=True).test == pytest.approx(expected)
    assert evaluate.run(EvaluateConfig(model=str(folder), dataset=workspace.options["dataset"])).test == pytest.approx(expected)


def test_a_base_that_is_elsewhere_is_typed_and_recorded(workspace, adapter, tmp_path) -> None:
    base = Path(shutil.copytree(adapter.parent / "base", tmp_path / "moved"))
    lost = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    content = json.loads((lost / "adapter_config.json").read_text())
    (lost / "adapter_config.json").write_text(json.dumps({**content, "base_model_name_or_path": "./nowhere"}))
    before = len(workspace.tracker.search())
    for stage in ("train", "evaluate", "prepare_data"):
        options = {"model": lost, "dataset": workspace.options["dataset"]}
        result = workspace.cli(stage, **options)
        assert (result.exit_code, len(workspace.tracker.search())) == (2, before), result.output
        assert "Give the model below it as --base-model." in " ".join(result.output.split())
    run_id = workspace.train(model=lost, base_model=base, strategy="head_only", epochs=1)
    assert workspace.tracker.get(run_id).params["base_model"] == str(base)
    assert workspace.evaluate(run_id).test["accuracy"] > 0.8
    result = workspace.cli("reproduce", run_id=run_id)
    assert result.exit_code == 0, result.output


def test_a_base_where_there_is_no_adapter_is_refused(workspace, adapter) -> None:
    for stage in ("train", "evaluate"):
        options = {"model": workspace.options["model"], "dataset": workspace.options["dataset"], "base_model": "x"}
        result = workspace.cli(stage, **options)
        assert result.exit_code == 2
        assert "is no adapter. Leave --base-model out." in " ".join(result.output.split())


@pytest.fixture
def vectors(workspace, tmp_path):
    """A folder as sentence-transformers saves it: `vectors("cls", "Dense")`."""

    def make(pooling: str, *more: str) -> Path:
        folder = Path(shutil.copytree(workspace.options["model"], tmp_path / "vectors", dirs_exist_ok=True))
        kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *((f"2_{name}", name) for name in more)]
        modules = [{"idx": at, "name": str(at), "path": path, "type": f"x.{kind}"} for at, (path, kind) in enumerate(kinds)]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
        return folder

    return make


@pytest.fixture
def pairs(tmp_path) -> Path:
    lines = ["one,two,label", *(f"a fine film {n},the story {n + n % 2},{'same' if n % 2 else 'other'}" for n in range(80))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "pairs.csv"


def of_pairs(workspace, pairs: Path, model: Path, cls: type = TrainConfig, **options: object):
    columns = {"text_column": "one", "text_pair_column": "two", "label_column": "label"}
    return workspace.config(cls, objective="bi_encoder", model=model, dataset=pairs, **columns, **options)


def test_a_bi_encoder_pools_as_its_folder_says_unless_told(workspace, vectors, pairs, tiny) -> None:
    inputs = find_inputs(of_pairs(workspace, pairs, vectors("cls", "Normalize")))
    assert (inputs.config.pooling, inputs.objective.pooling) == ("cls", "cls")
    [note] = inputs.notes
    assert note.endswith("--pooling cls, as 1_Pooling/config.json says.")
    typed = find_inputs(of_pairs(workspace, pairs, vectors("cls"), pooling="mean"))
    assert (typed.objective.pooling, typed.notes) == ("mean", ())
    assert typed.identity != inputs.identity
    plain = find_inputs(of_pairs(workspace, pairs, tiny.folder()))
    assert (plain.objective.pooling, plain.notes) == ("mean", ())
    same = find_inputs(of_pairs(workspace, pairs, tiny.folder(), pooling="mean"))
    assert same.identity == plain.identity


def test_a_search_pools_as_the_folder_says(workspace, vectors, pairs) -> None:
    from pipeline.stages.search.plan import plan_search

    made = of_pairs(workspace, pairs, vectors("cls"), TuneConfig, trials=2, strategy="full")
    plan = plan_search(made)
    assert {plan.config.pooling, plan.base.pooling, plan.candidate({}, "fp32").pooling} == {"cls"}
    told = plan_search(of_pairs(workspace, pairs, vectors("cls"), TuneConfig, trials=2, strategy="full", pooling="mean"))
    assert plan.identity != told.identity


def test_a_pooling_that_there_is_not_asks_for_another(workspace, vectors, pairs) -> None:
    columns = {"text_column": "one", "text_pair_column": "two", "label_column": "label"}
    options = {"objective": "bi_encoder", "model": vectors("weightedmean"), "dataset": pairs, **columns}
    result = workspace.cli("train", **options)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "1_Pooling/config.json says that its vectors are pooled by weightedmean, which is not one of mean, cls, max." in said
    assert find_inputs(of_pairs(workspace, pairs, vectors("weightedmean"), pooling="max")).objective.pooling == "max"


def test_a_layer_after_the_pooling_is_said_to_be_left_out(workspace, vectors, pairs) -> None:
    [note] = find_inputs(of_pairs(workspace, pairs, vectors("mean", "Dense"))).notes
    assert note.endswith("not used of its modules: 2_Dense, which change vectors after pooling.")


def test_to_a_classifier_the_pooling_is_said_and_nothing_else(workspace, vectors) -> None:
    said = find_inputs(workspace.config(model=vectors("mean")))
    [note] = said.notes
    assert note.endswith("its vectors are means of token states (1_Pooling/config.json): --head mean reads those.")
    assert (said.config.head, as_dict(said.config)["pooling"]) == ("pooler", "mean")
    for silent in (
        {"model": vectors("mean"), "head": "pooler"},
        {"model": vectors("mean"), "head": "mean"},
        {"model": "minilm"},
    ):
        assert not [note for note in find_inputs(workspace.config(**silent)).notes if "1_Pooling" in note], silent
    assert not find_inputs(workspace.config(model=vectors("cls"))).notes
