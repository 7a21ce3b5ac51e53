"""What methods by peft compute where this project has a hand in them: drawn places, factors, starts, merging."""

import numpy as np
import pytest
import torch
from peft.tuners.boft.layer import FastBlockDiag

from pipeline.data.batching import TokenExamples
from pipeline.strategies.adapters import merge_into_base
from pipeline.strategies.base import create_strategy
from pipeline.training.inference import predict_logits
from pipeline.training.saved_model import build_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CPU = torch.device("cpu")


@pytest.fixture
def build(tiny):
    def make(name, family="bert", **arguments):
        return tiny.build(create_strategy(name, arguments), tiny.folder(family), tiny.config())

    return make


def delta_of(layer):
    """What stands between a layer's weights and its base's."""
    identity = torch.eye(layer.get_base_layer().in_features)
    return (layer(identity) - layer.get_base_layer()(identity)).T.detach()


def layers_of(built):
    return [module for module in built.model.modules() if hasattr(module, "get_delta_weight")]


def test_shira_trains_entries_that_the_seed_draws_for_each_layer_by_itself(build):
    first, again, other = (layers_of(build("shira", r=2, places_seed=seed)) for seed in (0, 0, 1))
    places = [[layer.shira_indices["default"] for layer in layers] for layers in (first, again, other)]
    assert all(torch.equal(one, two) for one, two in zip(places[0], places[1], strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(places[0], places[2], strict=True))
    assert not torch.equal(places[0][0], places[0][1]), "layers of one shape have entries of their own"
    for layer, drawn in zip(first, places[0], strict=True):
        assert len({tuple(place) for place in drawn.T.tolist()}) == 2 * (32 + 32)
        torch.nn.init.ones_(layer.shira_weight["default"])
        expected = torch.zeros(32, 32)
        expected[drawn[0].long(), drawn[1].long()] = 1
        torch.testing.assert_close(delta_of(layer), expected)


def test_waveft_adds_what_peft_would(build):
    from peft.tuners.waveft.layer import WaveFTLinear

    (layer, *_) = layers_of(build("waveft", n_frequency=50))
    torch.nn.init.normal_(layer.waveft_spectrum["default"])
    update = layer.get_delta_weight("default")
    assert type(layer) is not WaveFTLinear
    torch.testing.assert_close(update, WaveFTLinear.get_delta_weight(layer, "default"), rtol=0, atol=0)
    assert update.abs().sum() > 0


def test_boft_rotates_by_as_many_factors_as_are_asked_for(build):
    from scipy.linalg import block_diag

    (layer, *_) = layers_of(build("boft", block_size=4, butterfly_factors=2))
    skew = layer.boft_R["default"]
    assert skew.shape == (2, 8, 4, 4)
    torch.nn.init.normal_(skew)
    rotation, _ = layer.get_delta_weight("default")
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(32), rtol=0, atol=1e-5)
    factors = []
    for factor, permutation in zip(skew.detach(), layer.boft_P, strict=True):
        halves = (factor - factor.transpose(1, 2)) / 2
        blocks = [torch.linalg.solve(torch.eye(4) + half, torch.eye(4) - half, left=False) for half in halves]
        factors.append(permutation @ torch.tensor(block_diag(*blocks)) @ permutation.T)
    torch.testing.assert_close(rotation, factors[1] @ factors[0], rtol=0, atol=1e-5)
    assert torch.equal(layer.boft_P[0], torch.eye(32)) != torch.equal(layer.boft_P[1], torch.eye(32))
    assert torch.autograd.gradcheck(
        lambda blocks: FastBlockDiag.apply(blocks), torch.randn(2, 3, 2, 2, dtype=torch.double, requires_grad=True)
    )
    assert len({layer.boft_P.data_ptr() for layer in layers_of(build("boft", block_size=4))}) == 1


def test_lora_plus_trains_the_second_factor_faster(build):
    rates = {p.name: p.lr_multipliers[0] for p in build("lora_plus", r=2, ratio=8).parameters.trainable}
    assert {rate for name, rate in rates.items() if ".lora_B." in name} == {8.0}
    assert {rate for name, rate in rates.items() if ".lora_B." not in name} == {1.0}
    assert any("classifier" in name for name in rates)


def test_pissa_begins_with_the_largest_singular_vectors_and_the_rest_is_frozen(build):
    plain = dict(build("full").model.named_parameters())
    for name, layer in build("pissa", r=3).model.named_modules():
        if not hasattr(layer, "start_A"):
            continue
        weight = plain[f"{name.removeprefix('base_model.model.')}.weight"].detach()
        update = layer.get_delta_weight("default")
        assert torch.linalg.matrix_rank(update) == 3
        assert torch.linalg.norm(update) > 0.98 * torch.linalg.svdvals(weight)[:3].norm(), "by iteration, of like values"
        torch.testing.assert_close(layer.get_base_layer().weight + update, weight, rtol=0, atol=1e-6)


def test_pissa_is_loaded_with_the_factors_it_began_with_whatever_this_machine_would_find(tiny, build, tmp_path, monkeypatch):
    built = build("pissa", r=2)
    tiny.fit(built, tiny.config(), tmp_path / "checkpoints")
    examples = TokenExamples(tiny.table(8), pad_id=0)
    logits = predict_logits(built.model, examples, CPU)
    built.write_delta(tmp_path)
    unlike = build("pissa", r=2)  # as if this machine had found factors of the other sign, and others
    for layer in layers_of(unlike):
        layer.get_base_layer().weight.data += 2 * layer.start_B @ layer.start_A
        layer.start_A, layer.start_B = torch.zeros_like(layer.start_A), layer.start_B + 1
    unlike.read_delta(tmp_path)
    assert predict_logits(unlike.model, examples, CPU) == pytest.approx(logits, abs=1e-4)
    monkeypatch.setattr(type(built.strategy), "begin", lambda *arguments: pytest.fail("nothing is decomposed anew"))
    context = built.context
    loaded = build_model(built.address, built.strategy, context, tiny.objective(), 0, 0)
    loaded.read_delta(tmp_path)
    assert (predict_logits(loaded.model, examples, CPU) == logits).all()
    with pytest.raises(ValueError, match=r"weights of another model or strategy.*start_A"):
        build("lora", r=2).read_delta(tmp_path)


def test_eva_begins_with_the_principal_components_of_what_a_layer_is_given(tiny, build):
    plain, table = build("full").model.eval(), tiny.table(8)
    batch = TokenExamples(table, pad_id=0).batch(np.arange(8)).inputs
    rows = plain.bert.embeddings(batch["input_ids"])[batch["attention_mask"].bool()].detach()
    layer = next(
        module for name, module in build("eva", r=3).model.named_modules() if name.endswith("layer.0.attention.self.query")
    )
    expected = torch.linalg.svd(rows - rows.mean(0), full_matrices=False).Vh[:3]
    cosines = (layer.lora_A["default"].weight * expected).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(3), rtol=0, atol=1e-4)
    assert not layer.lora_B["default"].weight.any()


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.parametrize("name", ["lora", "hra"])
def test_merged_adapters_answer_alike_whatever_the_classifier_is_made_of(tiny, build, tmp_path, family, name):
    built = build(name, family=family, r=2)
    tiny.fit(built, tiny.config(), tmp_path)
    examples = TokenExamples(tiny.table(8), pad_id=0)
    logits, merged = predict_logits(built.model, examples, CPU), merge_into_base(built.model)
    assert type(merged).__name__.endswith("ForSequenceClassification")
    assert not any("lora" in key or "hra" in key or "modules_to_save" in key for key in merged.state_dict())
    assert predict_logits(merged, examples, CPU) == pytest.approx(logits, abs=1e-4)
