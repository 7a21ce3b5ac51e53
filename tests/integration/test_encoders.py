"""Every family from the command line, and folders that are refused before a run is made."""

import json
import os
import shutil

import pytest
import torch
from plain_models import in_tiers
from safetensors.torch import load_file

from pipeline.modeling.family import list_model_types
from pipeline.modeling.model_sources import find_model

REFUSAL = 2
STRATEGY = {"albert": "bitfit", "distilbert": "partial", "modernbert": "lora", "roberta": "prefix"}


def data(workspace):
    return {name: value for name, value in workspace.options.items() if name != "model"}


@pytest.mark.parametrize("family", in_tiers(list_model_types()))
def test_every_family_trains_and_is_evaluated(workspace, tiny, family):
    strategy = STRATEGY.get(family, "full")
    options = {"model": str(tiny.folder(family)), "strategy": strategy, "epochs": 1, "max_length": 9999, "dropout": 0}
    if strategy == "prefix":
        options["strategy_args"] = "num_virtual_tokens=4"
    run_id = workspace.train(**options)
    run = workspace.tracker.get(run_id)
    assert run.status == "FINISHED"
    record = json.loads((workspace.tracker.download_model(run_id, workspace.folder / run_id) / "model.json").read_text())
    longest = min(9999, find_model(str(tiny.folder(family))).encoder.max_positions)
    assert record["max_length"] == longest - (4 if strategy == "prefix" else 0)
    workspace.evaluate(run_id)
    assert 0 <= workspace.tracker.get(run_id).metrics["test/accuracy"] <= 1


def change_config(**changes):
    def change(folder):
        content = json.loads((folder / "config.json").read_text())
        content |= changes
        (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def truncate_older_pickle(folder):
    weights = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), weights, _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()
    os.truncate(weights, weights.stat().st_size - 100)


@pytest.mark.parametrize(
    ("change", "strategy", "message"),
    [
        (change_config(model_type="gpt2"), "full", "its tokens see none of those after them, as in a decoder"),
        (change_config(model_type=None), "full", "config.json does not say which architecture this is"),
        (lambda folder: os.truncate(folder / "model.safetensors", 9000), "full", "model.safetensors is damaged"),
        (truncate_older_pickle, "full", "unexpected EOF, expected 100 more bytes"),
        (change_config(num_hidden_layers=6), "full", "its weights lack 32 parameters of the bert"),
        (change_config(intermediate_size=48), "full", "has another shape in the weights than in config.json"),
        (lambda folder: (folder / "vocab.txt").write_text("[PAD]\n[UNK]"), "full", "its tokenizer knows"),
        (change_config(model_type="modernbert"), "prefix", "prefix cannot work on modernbert"),
        (change_config(model_type="distilbert"), "prefix", "prefix cannot work on distilbert"),
        (change_config(model_type="albert"), "partial", "partial cannot work on albert"),
    ],
)
def test_what_cannot_work_is_refused_before_a_run_is_made(workspace, tiny, tmp_path, change, strategy, message):
    folder = shutil.copytree(tiny.folder(), tmp_path / "mine")
    (folder / "tokenizer.json").unlink()
    change(folder)
    before = {run.run_id for run in workspace.tracker.search()}
    result = workspace.cli("train", **data(workspace), model=folder, strategy=strategy)
    assert result.exit_code == REFUSAL, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert {run.run_id for run in workspace.tracker.search()} == before


def test_a_study_names_every_strategy_that_cannot_work_and_those_that_can(workspace, tiny):
    before = {run.run_id for run in workspace.tracker.search()}
    options = {"model": tiny.folder("modernbert"), "dataset": tiny.csv(), "strategies": "full,bitfit,prefix,lora"}
    result = workspace.cli("main", **options)
    assert result.exit_code == REFUSAL, result.output
    for message in ("bitfit cannot work on modernbert", "prefix cannot work on modernbert", "--strategies full,lora"):
        assert message in result.output
    assert {run.run_id for run in workspace.tracker.search()} == before
