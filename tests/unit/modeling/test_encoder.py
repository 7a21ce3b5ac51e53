"""What the description of each family says, held against the models of transformers."""

import contextlib

import pytest
import torch
from plain_models import encoder_takes, has_pooler, in_tiers, position_tables, published_config
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification

from pipeline.errors import ConfigError, ModelError
from pipeline.modeling.encoder import describe_encoder
from pipeline.modeling.family import UNLIMITED, find_family, list_model_types
from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import StrategyContext, create_strategy
from pipeline.strategies.freezing import norms
from pipeline.strategies.parameter_plan import parameter_names, plan_parameters
from pipeline.training.acceleration.patches.first_token import first_token
from pipeline.training.meters import FlopCounter
from pipeline.training.saved_model import build_model

FAMILIES = list_model_types()
UNUSED_DROPOUTS = {"qa_dropout", "summary_last_dropout"}  # of heads that do not classify texts


def base_size(family: str, **changes: int) -> tuple[torch.nn.Module, dict]:
    """A model of the size that the family's defaults describe, on the meta device: no weights."""
    config = published_config(family, **changes)
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config, attn_implementation="eager"), config.to_dict()


def context_of(config: dict, name: str = "mine") -> StrategyContext:
    return StrategyContext(describe_encoder(config, name), epochs=1, total_steps=1, dropout=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_has_a_part_and_every_layer_its_number(family: str) -> None:
    model, config = base_size(family)
    encoder = describe_encoder(config, "mine")
    locations = [encoder.locate(name) for name, _ in model.named_parameters()]
    assert len(locations) > 20
    assert {location.part for location in locations} <= {"embeddings", "shared", "layer", "pooler", "head", "unused"}
    assert any(location.part == "shared" for location in locations) == bool(encoder.shared)
    assert any(location.part == "unused" for location in locations) == bool(encoder.unused)
    assert {location.layer for location in locations if location.part == "layer"} == set(range(encoder.layer_sets))
    assert any(location.part == "head" for location in locations)
    assert any(location.part == "pooler" for location in locations) == any((encoder.pooler, encoder.final_norm))


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_knows_every_linear_layer_of_encoder_and_pooler(family: str) -> None:
    model, config = base_size(family)
    encoder = describe_encoder(config, "mine")
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and encoder.locate(f"{name}.weight").part in ("layer", "pooler")
    }
    assert linear == set(encoder.family.linear)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_norm_is_known_as_one(family: str) -> None:
    model, config = base_size(family)
    encoder = describe_encoder(config, "mine")
    modules = {name for name, module in model.named_modules() if type(module).__name__.endswith("Norm")}
    modules = {name for name in modules if encoder.locate(f"{name}.weight").part != "unused"}
    assert modules
    assert modules == {name.rpartition(".")[0] for name, _ in model.named_parameters() if norms(encoder.locate(name))}


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_adapts_those_and_none_of_the_head(tiny, family: str) -> None:
    built = tiny.build(create_strategy("lora", {}), tiny.folder(family), tiny.config())
    adapted = {
        p.name.partition(".lora_")[0].partition("base_model.model.")[2]
        for p in built.parameters.parameters
        if ".lora_" in p.name
    }
    parts = {built.context.encoder.locate(f"{name}.weight").part for name in adapted}
    assert parts == {"layer", "pooler"} if has_pooler(family) else parts == {"layer"}


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_reaches_hidden_states_attention_and_classifier(tiny, family: str) -> None:
    model = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.25, seed=0).model
    modules = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert set(modules) <= {0.25}
    settings = {key: value for key, value in model.config.to_dict().items() if "dropout" in key and key not in UNUSED_DROPOUTS}
    assert len(settings) >= 2 or not modules  # some have none of the classifier, or of attention alone, which needs no module
    assert settings
    assert set(settings.values()) == {0.25}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_text_fits(tiny, family: str) -> None:
    address = find_model(str(tiny.folder(family)))
    model = load_classifier(address, ["a", "b"], dropout=0.0, seed=0).model.eval()

    def logits(length: int) -> torch.Tensor:
        ids = torch.full((2, length), 9)
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    longest = address.encoder.max_positions
    if longest == UNLIMITED:
        assert not position_tables(family)
        assert torch.isfinite(logits(200)).all()
        return
    assert longest == 64 if not position_tables(family) else 60 <= longest <= 64
    assert torch.isfinite(logits(longest)).all()
    if position_tables(family):  # rotary positions have none to run out of
        with pytest.raises((IndexError, RuntimeError)):
            logits(longest + 1)


@pytest.mark.parametrize("family", [family for family in FAMILIES if "prefix" not in find_family(family).refused])
def test_prefix_takes_its_positions_from_the_text(tiny, family: str) -> None:
    address = find_model(str(tiny.folder(family)))
    strategy = create_strategy("prefix", {"num_virtual_tokens": 5})
    context = tiny.context(tiny.folder(family), tiny.config())
    model = build_model(address, strategy, context, tiny.objective(), 0, 0).model.eval()
    for length, fits in ((address.encoder.max_positions - strategy.positions, True), (address.encoder.max_positions, False)):
        ids = torch.full((2, length), 9)
        if fits:
            assert torch.isfinite(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits).all()
        else:
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
    with pytest.raises(ConfigError, match="leaves no room for text"):
        create_strategy("prefix", {"num_virtual_tokens": address.encoder.max_positions - 2}).phases(context)


@pytest.mark.parametrize("family", [family for family in FAMILIES if encoder_takes(family, "token_type_ids")])
def test_token_types_left_out_are_zeros(tiny, family: str) -> None:
    model = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.0, seed=0).model.eval()
    ids = torch.arange(8, 28).reshape(2, 10)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        assert torch.equal(model(**given).logits, model(**given, token_type_ids=torch.zeros_like(ids)).logits)


@pytest.mark.parametrize("name", ["full", "head_only", "lora"])
@pytest.mark.parametrize("family", in_tiers(FAMILIES))
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("trimmed", [True, False])
def test_operations_are_those_that_torch_counts(family: str, name: str, trimmed: bool) -> None:
    model, config = base_size(family, num_hidden_layers=4)
    context = context_of(config)
    context.encoder.family.repair(model)
    strategy = create_strategy(name, {})
    own_names = parameter_names(model)
    with torch.device("meta"):
        model = strategy.adapt(model, context)
    plan = plan_parameters(model, context.encoder, strategy.phases(context), own_names)
    plan.enter_phase(model, 0)
    ids = torch.ones(4, 128, dtype=torch.long, device="meta")
    trims = trimmed and context.encoder.trims_last_layer
    trimming = first_token(model, context.encoder) if trims else contextlib.nullcontext()
    needs_mask = context.encoder.relative_positions  # those look at the ids where no mask is given
    with trimming, FlopCounterMode(display=False) as counter:
        try:  # other masks cannot be looked at without values
            model(input_ids=ids, attention_mask=torch.ones_like(ids) if needs_mask else None).logits.sum().backward()
        except RuntimeError as error:
            if not isinstance(error, NotImplementedError) and "on meta tensors" not in str(error):
                raise
            pytest.skip(f"{family} looks at values, and there are none on the meta device")
    counted = FlopCounter.of(context.encoder, plan, 0, trims_last_layer=trims).step(4, 128)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("pooling", ["late", "mean", "bos"])
def test_a_head_on_every_token_costs_as_much_as_there_are_tokens(pooling: str) -> None:
    model, config = base_size("eurobert", num_hidden_layers=1, vocab_size=100, pad_token_id=0, classifier_pooling=pooling)
    context = context_of(config)
    assert context.encoder.reads_first_token == (pooling == "bos")
    plan = plan_parameters(model, context.encoder, create_strategy("head_only", {}).phases(context), parameter_names(model))
    plan.enter_phase(model, 0)
    ids = torch.ones(4, 128, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=None).logits.sum().backward()
    counted = FlopCounter.of(context.encoder, plan, 0).step(4, 128)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_can_be_computed_in_half_precision(tiny, family: str) -> None:
    model = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.1, seed=0).model
    ids = torch.arange(8, 28).reshape(2, 10)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_of_several_languages_one_is_used_and_must_be_said(tiny) -> None:
    languages = {"model_type": "xmod", "languages": ["de_DE", "en_XX"]}
    encoder = describe_encoder(languages | {"default_language": "de_DE"}, "mine")
    parts = [encoder.locate(f"roberta.encoder.layer.3.output.adapter_modules.{x}.dense1.bias").part for x in ("de_DE", "en_XX")]
    assert parts == ["layer", "unused"]
    assert describe_encoder({"model_type": "xmod", "languages": ["en_XX"]}, "mine").unused == ()
    for language in (None, "fr_XX"):
        with pytest.raises(ModelError, match=rf"default_language={language} .* that of the texts: de_DE, en_XX\."):
            describe_encoder(languages | {"default_language": language}, "mine")


def test_distilberts_own_names_of_the_shape_are_read() -> None:
    encoder = describe_encoder({"model_type": "distilbert", "dim": 64, "n_layers": 3, "hidden_dim": 100}, "mine")
    assert (encoder.hidden_size, encoder.depth, encoder.intermediate_size) == (64, 3, 100)


def test_an_mpnet_has_two_rows_of_positions_more_than_it_can_use() -> None:
    assert describe_encoder({"model_type": "mpnet", "max_position_embeddings": 514}, "mine").max_positions == 512


def test_layers_of_an_albert_that_shares_none_train_alone() -> None:
    config = {"model_type": "albert", "num_hidden_layers": 4, "num_hidden_groups": 4}
    assert create_strategy("partial", {"top_k": 2}).phases(context_of(config))
    with pytest.raises(ConfigError, match="share 2 sets of weights"):
        create_strategy("partial", {"top_k": 2}).phases(context_of(config | {"num_hidden_groups": 2}))


def test_a_modernbert_with_biases_takes_bitfit() -> None:
    assert create_strategy("bitfit", {}).phases(context_of({"model_type": "modernbert", "norm_bias": True}))


def test_the_layers_that_share_weights_begin_where_they_are_first_used() -> None:
    encoder = describe_encoder({"model_type": "albert", "num_hidden_layers": 5, "num_hidden_groups": 2}, "mine")
    used = [int(layer / (5 / 2)) for layer in range(5)]  # as AlbertTransformer.forward chooses the group
    assert [encoder.first_use(group) for group in (0, 1)] == [used.index(0), used.index(1)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "t5"},
            f"architecture 't5' is not supported: .*, for it is an encoder with a decoder. Supported: {', '.join(FAMILIES)}",
        ),
        ({"model_type": ["bert"]}, r"architecture \['bert'\] is not supported"),
        ({}, 'does not say which architecture this is. Add "model_type" to it. Supported: albert, bert'),
        ({"model_type": "bert", "hidden_size": "wide"}, "does not describe a bert: .*hidden_size"),
        ({"model_type": "bert", "num_hidden_layers": None}, "does not describe a bert: .*num_hidden_layers"),
        ({"model_type": "bert", "num_hidden_layers": 0}, "describes a bert with depth=0"),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "describes a roberta with max_positions=0"),
        ({"model_type": "albert", "inner_group_num": 2}, "inner_group_num=2 in config.json is not supported"),
        ({"model_type": "mpnet", "pad_token_id": 0}, "pad_token_id=0 in config.json is not supported"),
        ({"model_type": "xmod", "pre_norm": True}, "pre_norm=True in config.json is not supported"),
        (
            {"model_type": "nomic_bert", "rotary_emb_base": 10000},
            r"rotary_emb_base=10000 in config.json is not read by transformers; write .rope_parameters.: .*: 10000} there",
        ),
        (
            {"model_type": "nomic_bert", "layer_norm_epsilon": 1e-5},
            "layer_norm_epsilon=1e-05 in config.json is not read by transformers; write layer_norm_eps=1e-05 there",
        ),
        ({"model_type": "nomic_bert", "activation_function": "geglu"}, "=geglu .* is not read .*; write hidden_act=gelu there"),
        ({"model_type": "nomic_bert", "activation_function": "gelu"}, "=gelu in config.json is not supported, only blocks"),
        ({"model_type": "nomic_bert", "activation_function": ["glu"]}, r"activation_function=\['glu'\] .* is not supported"),
        ({"model_type": "nomic_bert", "rotary_emb_fraction": 0.5}, "rotary_emb_fraction=0.5 .* is not supported, 1.0 is"),
        ({"model_type": "nomic_bert", "prenorm": True}, "prenorm=True in config.json is not supported, False is computed"),
    ],
)
def test_what_is_not_known_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ModelError, match=f"--model mine: .*{message}"):
        describe_encoder(config, "mine")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rotary_emb_base": 10000, "rope_parameters": {"rope_type": "default", "rope_theta": 10000}},
        {"layer_norm_epsilon": 1e-5, "layer_norm_eps": 1e-5},
        {"activation_function": "geglu", "hidden_act": "gelu"},
    ],
    ids=["as published", "base", "epsilon", "gate"],
)
def test_a_first_config_of_nomic_is_read_where_it_says_what_is_computed(changes: dict) -> None:
    published = {
        "model_type": "nomic_bert",
        "activation_function": "swiglu",
        "layer_norm_epsilon": 1e-12,
        "n_embd": 768,
        "n_head": 12,
        "n_inner": 3072,
        "n_layer": 12,
        "n_positions": 8192,
        "prenorm": False,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_scaling_factor": None,
    }
    assert describe_encoder(published | changes, "mine").depth == 12
