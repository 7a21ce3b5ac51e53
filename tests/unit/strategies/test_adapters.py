"""What the strategies that put modules into a model compute."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch
from plain_models import has_biases

from pipeline.config import TrainConfig
from pipeline.data.batching import TokenExamples
from pipeline.errors import ConfigError
from pipeline.modeling.family import list_model_types
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.adapters import linear_layers
from pipeline.strategies.base import create_strategy, strategy_class
from pipeline.training.inference import predict_logits
from pipeline.training.saved_model import build_model
from pipeline.training.setup import find_strategy

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CPU = torch.device("cpu")


@pytest.fixture
def build(tiny):
    def make(name, total_steps=1, family="bert", **arguments):
        return tiny.build(create_strategy(name, arguments), tiny.folder(family), tiny.config(), total_steps=total_steps)

    return make


def adapted(built):
    names = [parameter.name for parameter in built.parameters.trainable if parameter.location.part == "added"]
    assert names
    return names


def test_targets_are_last_names_or_one_of_two_groups(build):
    names = adapted(build("lora", r=2))
    assert any("pooler.dense" in name for name in names)
    assert any("output.dense" in name for name in names)
    by_group, by_name = (adapted(build("lora", r=2, targets=targets)) for targets in (["query-value"], ["query", "value"]))
    assert by_group == by_name
    assert all(".query." in name or ".value." in name for name in by_group)
    fused = adapted(build("dora", r=2, family="modernbert"))
    assert all(".Wqkv." in name for name in fused)
    with pytest.raises(ConfigError, match=r"lora: targets: Unknown target 'querry'\. Did you mean 'query'\?"):
        build("lora", targets=["querry"])
    with pytest.raises(ConfigError, match="lora: targets: is empty"):
        build("lora", targets=[])
    with pytest.raises(
        ConfigError, match=r"lora: targets=pos_key_proj is no linear layer of .*deberta-v2\. .* dense, key_proj, q"
    ):
        build("lora", targets=["pos_key_proj"], family="deberta-v2")  # where attention shares its keys


@pytest.mark.parametrize("family", [family for family in list_model_types() if has_biases(family)])
def test_bitfit_trains_every_bias_whatever_it_is_called(build, family):
    built = build("bitfit", family=family)
    unused = {parameter.name for parameter in built.parameters.parameters if parameter.location.part == "unused"}
    biases = {name for name, _ in built.model.named_parameters() if "bias" in name.rpartition(".")[2]} - unused
    assert {parameter.name for parameter in built.parameters.trainable} == biases


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lora", {}),
        ("dora", {}),
        ("rslora", {}),
        ("adalora", {}),
        ("ia3", {}),
        ("oft", {"block_size": 8}),
        ("boft", {"block_size": 4}),
        ("delora", {}),
        ("eva", {}),
        ("gralora", {}),
        ("hra", {}),
        ("loha", {}),
        ("lokr", {}),
        ("lora_plus", {}),
        ("miss", {"r": 5}),
        ("pissa", {}),
        ("randlora", {}),
        ("road", {"group_size": 8}),
        ("shira", {}),
        ("waveft", {"n_frequency": 50}),
    ],
)
def test_adapters_change_nothing_before_they_are_trained(tiny, build, name, arguments):
    examples = TokenExamples(tiny.table(8), pad_id=0)
    plain, with_adapters = (predict_logits(b.model, examples, CPU) for b in (build("full"), build(name, **arguments)))
    assert with_adapters == pytest.approx(plain, abs=1e-5)


def test_bottleneck_adapters_begin_near_the_identity_and_stand_where_they_should(tiny, build):
    examples = TokenExamples(tiny.table(8), pad_id=0)
    plain, beside = build("full"), build("bottleneck")
    assert predict_logits(beside.model, examples, CPU) == pytest.approx(predict_logits(plain.model, examples, CPU), abs=0.05)
    for family in tiny.families:
        names = {name.rpartition(".adapter_")[0] for name in adapted(build("bottleneck", family=family))}
        both = {name.rpartition(".adapter_")[0] for name in adapted(build("bottleneck", family=family, placement="houlsby"))}
        blocks = 1 if family == "albert" else tiny.depth
        assert (len(names), len(both)) == (blocks, 2 * blocks)
        assert names < both


def test_an_oft_block_that_does_not_fit_is_refused(build):
    with pytest.raises(ConfigError, match=r"oft: block_size=5 does not divide the width 32 of .*'s layers. Choose a divisor"):
        build("oft", block_size=5)


@pytest.mark.parametrize(("target", "block_size", "fits"), [("query-value", 32, True), ("all-linear", 64, False)])
def test_an_oft_block_must_fit_all_layers_that_it_is_put_on(build, target, block_size, fits):
    if fits:
        assert build("oft", block_size=block_size, targets=[target])
    else:
        with pytest.raises(ConfigError, match="oft: block_size=64 does not divide the width 32"):
            build("oft", block_size=block_size, targets=[target])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("c3a", {}, r"c3a: block_size=128 does not divide the width 32 of .*bert's layers\. Choose a divisor"),
        ("c3a", {"block_size": 16, "targets": ["dense"]}, ""),
        ("boft", {"block_size": 5}, "boft: block_size=5 is odd"),
        ("boft", {"block_size": 6}, "boft: block_size=6 does not divide the width 32"),
        (
            "boft",
            {"block_size": 8, "butterfly_factors": 4},
            "butterfly_factors=4 with block_size=8 makes blocks of 64, which do",
        ),
        ("fourierft", {"n_frequency": 1025}, "fourierft: n_frequency=1025 exceeds the 1,024 entries of each of"),
        ("gralora", {"r": 3}, "gralora: r=3 is no multiple of k=2"),
        ("gralora", {"r": 3, "k": 3}, "gralora: k=3 does not divide the width 32"),
        ("hra", {"r": 3}, "hra: r=3 is odd"),
        ("miss", {"r": 33}, "miss: r=33 exceeds the width 32"),
        ("road", {}, "road: group_size=64 does not divide the width 32"),
        ("road", {"group_size": 1}, "road: group_size=1 is odd"),
        ("shira", {"r": 17}, "shira: r=17 asks for 1,088 of the 1,024 entries of each of"),
        ("waveft", {}, "waveft: n_frequency=2592 exceeds the 1,024 entries"),
    ],
)
def test_what_does_not_fit_a_layer_is_refused_by_name_before_weights_are_read(tiny, name, arguments, message):
    context = tiny.context(tiny.folder(), tiny.config())
    strategy = create_strategy(name, arguments)
    if not message:
        assert strategy.phases(context)
        return
    with pytest.raises(ConfigError, match=message):
        strategy.phases(context)


def test_what_only_some_layers_of_a_model_have_is_looked_at_too(build, monkeypatch):
    misfit = lambda self, inputs, outputs: "its layers {of} are too wide." if outputs == 96 else ""  # noqa: E731
    monkeypatch.setattr(strategy_class("lora"), "misfit", misfit)
    assert build("lora", family="bert")
    with pytest.raises(ConfigError, match=r"lora: its layers of .*modernbert's layers are too wide"):
        build("lora", family="modernbert")  # one layer makes queries, keys and values


def test_a_subset_is_no_larger_than_the_whole(tiny, build):
    for family in tiny.families:
        context = tiny.context(tiny.folder(family), tiny.config())
        built = build("random_subset", family=family, amount=10)
        linear = linear_layers(built.model, context.encoder).items()
        whole = sum(layer.weight.numel() for name, layer in linear if context.encoder.locate(f"{name}.weight").part == "layer")
        assert create_strategy("random_subset", {"amount": whole}).phases(context)
        with pytest.raises(
            ConfigError, match=rf"random_subset: amount={whole + 1} exceeds the {whole:,} weights in the linear"
        ):
            create_strategy("random_subset", {"amount": whole + 1}).phases(context)


def test_adalora_cuts_to_the_target_and_keeps_it(tiny, build, tmp_path):
    steps, modules = 12, 2 * tiny.depth
    built = build("adalora", total_steps=steps, init_r=4, target_r=2, interval=1)
    config = tiny.config(epochs=steps, learning_rate=1e-3)
    tiny.fit(built, config, tmp_path)
    values = [parameter for name, parameter in built.model.named_parameters() if ".lora_E." in name]
    assert len(values) == modules
    pattern = built.strategy.state(built.model)["rank_pattern"]
    assert sum(map(sum, pattern.values())) == 2 * modules
    assert len({sum(kept) for kept in pattern.values()}) > 1, "ranks move from where they matter less"


@pytest.mark.parametrize("exact", [True, False])
def test_exact_oft_rotates_and_peft_s_series_only_nearly(build, exact):
    torch.manual_seed(0)
    built = build("oft", block_size=8, exact=exact)
    rotations = [module for module in built.model.modules() if hasattr(module, "_cayley_batch")]
    assert len(rotations) == 2 * 4  # queries and values of four layers
    for module in rotations:
        torch.nn.init.normal_(module.weight, std=0.2)
        terms = module.use_cayley_neumann, module.num_cayley_neumann_terms
        matrices = module._cayley_batch(module.weight, module.block_size, *terms)
        away = (matrices @ matrices.mT - torch.eye(8)).abs().max()
        assert (away < 1e-5) == exact


@pytest.mark.parametrize("left_out", [{6}, {6, 7}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6}])
def test_adalora_cuts_to_the_target_though_steps_are_left_out(build, left_out):
    steps, modules = 10, 2 * 4  # the last cut is due at step 6
    built = build("adalora", total_steps=steps, init_r=4, target_r=2, interval=3)
    ranks = [parameter for name, parameter in built.model.named_parameters() if ".lora_E." in name]
    for step in range(1, steps + 1):
        for parameter in built.model.parameters():
            parameter.grad = torch.rand_like(parameter)
        torch.nn.init.ones_(ranks[0])
        if step not in left_out:
            built.strategy.after_step(built.model, step)
    pattern = built.strategy.state(built.model)["rank_pattern"]
    assert sum(map(sum, pattern.values())) == 2 * len(pattern) == 2 * modules


@pytest.mark.parametrize(("arguments", "ends"), [({}, (2, 4, 8)), ({"init_r": 8}, (2, 4)), ({"init_r": 2}, (1,))])
def test_adalora_s_ranks_at_the_end_go_with_those_at_the_start(build, arguments, ends):
    built = build("adalora", total_steps=10, **arguments)
    assert built.strategy.search_space(built.context)["target_r"].options == ends
    assert built.model.peft_config["default"].target_r == {12: 8, 8: 5, 2: 1}[built.strategy.init_r]


def test_adalora_goes_on_with_its_weighing_after_an_interruption(tiny, build, tmp_path, watch):
    steps = 10
    config = tiny.config(epochs=steps, learning_rate=1e-3)

    def train(folder, interrupted_at=None):
        built = build("adalora", total_steps=steps, init_r=4, target_r=2, interval=1)
        averages = {}

        def after_step(step):
            if step == interrupted_at:
                raise KeyboardInterrupt
            averages[step] = dict(built.strategy.state(built.model)["exp_avg_unc"])

        tiny.fit(built, config, tmp_path / folder, watcher=watch(after_step=after_step))
        return averages, built.strategy.state(built.model)["rank_pattern"]

    whole, pattern = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("parts", interrupted_at=4)
    resumed, found = train("parts")
    assert min(resumed) == 4
    assert resumed[4].keys() == whole[4].keys() != set()
    assert all(torch.equal(resumed[4][name], whole[4][name]) for name in whole[4])
    assert pattern == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init_r": 4, "target_r": 4}, "adalora: target_r=4 is not below init_r=4"),
        ({"first_share": 0.5, "last_share": 0.5}, "adalora: first_share=0.5 and last_share=0.5 leave no step"),
    ],
)
def test_an_adalora_schedule_that_cannot_be_is_refused(build, arguments, message):
    with pytest.raises(ConfigError, match=message):
        build("adalora", **arguments)


def test_a_random_subset_moves_exactly_as_many_weights_as_bitfit_has_biases(tiny, build, tmp_path):
    def effective(built):
        modules = built.model.named_modules()
        return {name: module.weight.detach().clone() for name, module in modules if isinstance(module, torch.nn.Linear)}

    built, bitfit = build("random_subset"), build("bitfit")
    assert built.parameters.trainable_count == bitfit.parameters.trainable_count
    before = effective(built)
    tiny.fit(built, tiny.config(epochs=2, weight_decay=0.1), tmp_path)
    after = effective(built)
    changed = sum(int((after[name] != before[name]).sum()) for name in before)
    in_head = sum(parameter.size for parameter in built.parameters.trainable if parameter.location.part == "head")
    assert changed == built.parameters.trainable_count - in_head


def test_the_seed_and_the_amount_decide_which_weights_are_drawn(build):
    def positions(**arguments):
        model = build("random_subset", **arguments).model
        return [buffer.tolist() for name, buffer in model.named_buffers() if name.endswith(".positions")]

    assert positions(amount=50) == positions(amount=50)
    assert positions(amount=50) != positions(amount=50, subset_seed=1)
    assert sum(map(len, positions(amount=50, family="modernbert"))) == 50


def test_qlora_asks_for_bitsandbytes_before_anything_is_loaded(tiny, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else real(name, *rest))
    strategy, context = create_strategy("qlora", {}), tiny.context(tiny.folder(), tiny.config())
    assert strategy.phases(context), "what it would train can be said without it"
    message = r"qlora needs the package bitsandbytes\. Run `pip install '\.\[qlora\]'` in the project's folder, or"
    with pytest.raises(ConfigError, match=message):
        find_strategy(TrainConfig(model=str(tiny.folder()), strategy="qlora"))
    gone = dataclasses.replace(find_model(str(tiny.folder())), folder=tiny.root / "not there")
    with pytest.raises(ConfigError, match=message):
        build_model(gone, strategy, context, tiny.objective(), 0, 0)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_no_weight_of_qlora_is_part_of_the_mapped_file(tiny):
    folder = tiny.folder()
    built = tiny.build(create_strategy("qlora", {}), folder, tiny.config())
    assert any(parameter.dtype == torch.uint8 for parameter in built.model.parameters()), "packed"
    lines = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    mapped = [range(int(low, 16), int(high, 16)) for low, high in lines]
    assert not [name for name, held in built.model.named_parameters() if any(held.data_ptr() in part for part in mapped)]


def test_a_prefix_without_projection_begins_near_zero_and_with_one_as_peft_makes_it(build):
    direct = build("prefix", projection=False).model.get_parameter("prompt_encoder.default.embedding.weight")
    assert float(direct.detach().std()) == pytest.approx(0.02, rel=0.1)  # peft: 1, which drowns the text
    projected = build("prefix").model.get_parameter("prompt_encoder.default.embedding.weight")
    assert float(projected.detach().std()) == pytest.approx(1.0, rel=0.1)


def test_a_projection_trains_at_its_share_of_the_rate_and_the_classifier_at_all_of_it(build):
    def lr_multipliers(**arguments):
        plan = build("prefix", **arguments).parameters
        return {parameter.location.part: parameter.lr_multipliers for parameter in plan.trainable}

    assert lr_multipliers() == {"added": (0.02,), "head": (1.0,)}
    assert lr_multipliers(projection_lr_multiplier=0.25) == {"added": (0.25,), "head": (1.0,)}
    assert lr_multipliers(projection_lr_multiplier=0.25, projection=False) == {"added": (1.0,), "head": (1.0,)}
