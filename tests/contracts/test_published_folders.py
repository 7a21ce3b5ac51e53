"""Folders laid out as the hub has them are loaded, trained, saved, and loaded again."""

import json
import shutil

import numpy as np
import pytest
import torch
from pairs import make, moved, record_of, snapshot
from safetensors.torch import load_file
from tiny_encoders import deberta_v2_config

from pipeline.modeling.loading import check_weights, load_tokenizer
from pipeline.modeling.model_sources import find_model
from pipeline.training.saved_model import FineTunedModel, load_model_folder, write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TEXTS = ["the film is great", "ａ dull plot…", "it was a ﬁne story and the scene is warm"]
CONFIG = {
    "model_type": "deberta-v2",
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.2,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "layer_norm_eps": 1e-7,
    "max_relative_positions": -1,
    "max_position_embeddings": 512,
    "position_biased_input": False,
    "type_vocab_size": 0,
}


@pytest.fixture
def published(tiny, tmp_path):
    """As microsoft/deberta-v3-base: fp16 in a pickle, with heads and a table that are not used, and `spm.model` alone."""
    from transformers import AutoConfig, DebertaV2Model

    folder = tmp_path / "deberta-v3-tiny"
    folder.mkdir()
    tiny.write_sentencepiece(folder, "deberta-v2")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    shape = deberta_v2_config().to_dict()
    sizes = {name: shape[name] for name in shape if name.startswith("num_hidden") or name.endswith(("_size", "_heads"))}
    sizes = {name: value for name, value in sizes.items() if not name.startswith(("conv", "pooler", "type_"))}
    (folder / "config.json").write_text(json.dumps(CONFIG | sizes))
    torch.manual_seed(0)
    state = DebertaV2Model(AutoConfig.from_pretrained(folder)).state_dict()
    weights = {f"deberta.{name}": value.half() for name, value in state.items()}
    beside = ("lm_predictions.lm_head.dense", "mask_predictions.dense")
    weights |= {f"{name}.weight": torch.rand(32, 32).half() for name in beside}
    weights["deberta.embeddings.position_embeddings.weight"] = torch.rand(512, 32).half()
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("name", ["full", "lora", "partial"])
def test_deberta_v3_as_it_is_published(tiny, tmp_path, published, name):
    address = find_model(str(published))
    report = check_weights(address)
    assert report.lacking == {"pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias"}
    table = "deberta.embeddings.position_embeddings"
    assert report.note == f"--model {published}: not used of its weights: {table}, lm_predictions, mask_predictions."
    assert not address.encoder.tells_segments
    strategy, config = make(name), tiny.config()
    built = tiny.build(strategy, published, config)
    assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}
    before = snapshot(built.model)
    assert tiny.fit(built, config, tmp_path / "checkpoints").steps == 1
    assert moved(before, snapshot(built.model)) == {parameter.name for parameter in built.parameters.trainable}
    write_model_folder(tmp_path / "saved", built, record_of(tiny, built, config))
    objective, tokenizer = tiny.objective(), load_tokenizer(address)
    tuned = FineTunedModel(built.model, tokenizer, objective, objective.task, 64, built.context.encoder)
    reloaded = load_model_folder(tmp_path / "saved")
    np.testing.assert_array_equal(reloaded.predict(TEXTS), tuned.predict(TEXTS))
    saved = load_file(tmp_path / "saved" / "delta.safetensors")
    assert [name for name in saved if "pooler." in name and name.endswith("dense.weight")], "also under peft"


def test_its_texts_may_be_longer_than_the_positions_in_its_config(published):
    tuned_on = find_model(str(published))
    tokenizer = load_tokenizer(tuned_on)
    from pipeline.data.tokenization import clamp_length

    assert clamp_length(2000, tokenizer, tuned_on.encoder.max_positions) == 2000


def test_what_all_layers_share_must_be_in_the_weights(tiny, tmp_path):
    from pipeline.errors import ModelError

    folder = shutil.copytree(tiny.folder("deberta-v2"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    torch.save({name: value for name, value in weights.items() if "rel_embeddings" not in name}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lack 1 parameters of the deberta-v2 .*, such as deberta\.encoder\.rel_embeddings"):
        check_weights(find_model(str(folder)))
