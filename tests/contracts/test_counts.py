"""The figures of the studies that follow from bert-base's shape alone. The models are on the meta device: no weights."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from pipeline.modeling.encoder import describe_encoder
from pipeline.strategies.base import StrategyContext, create_strategy
from pipeline.strategies.parameter_plan import parameter_names, plan_parameters

BERT_BASE = 109_483_778


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "arguments", "trainable", "total", "percent"),
    [
        ("head_only", {}, 1_538, BERT_BASE, "0.0014"),
        ("linear_probe", {}, 1_538, BERT_BASE, "0.0014"),
        ("full", {}, BERT_BASE, BERT_BASE, "100.0000"),
        ("partial", {}, 28_353_026, BERT_BASE, "25.8970"),
        ("partial", {"top_k": 4}, 28_353_026, BERT_BASE, "25.8970"),
        ("partial", {"top_k": 2}, 14_177_282, BERT_BASE, "12.9492"),
        ("bitfit", {}, 102_914, BERT_BASE, "0.0940"),
        ("lora", {}, 1_340_930, 110_824_708, "1.209956"),
        ("lora", {"r": 8, "targets": ["query", "value"]}, 296_450, None, "0.270"),
        ("freeze_bottom", {"bottom": 9}, 21_855_746, None, None),
        ("attention", {}, 28_958_978, BERT_BASE, "26.450"),
        ("discriminative", {}, BERT_BASE, BERT_BASE, "100"),
        ("gradual", {}, BERT_BASE, BERT_BASE, "100"),
        ("layernorm", {}, 39_938, BERT_BASE, None),
        ("random_subset", {}, 102_914, BERT_BASE + 102_912, None),
        ("dora", {}, 314_882, None, None),
        ("rslora", {}, 1_340_930, 110_824_708, "1.209956"),
        ("rslora", {"targets": ["query-value"]}, 296_450, None, None),
        ("qlora", {}, 1_340_930, 110_824_708, "1.209956"),
        ("adalora", {}, 444_194, None, None),
        ("ia3", {}, 66_050, None, None),
        ("ia3", {"rescale_attention_output": False}, 56_834, None, None),
        ("vera", {}, 26_114, None, None),
        ("oft", {}, 287_234, None, None),
        # Of the 24 layers that make queries or values, 768 wide, and 1,538 of the classifier:
        ("boft", {}, 24 * (2 * 96 * 8 * 8 + 768) + 1_538, None, None),
        ("boft", {"block_size": 4, "butterfly_factors": 1}, 93_698, None, None),
        ("c3a", {}, 24 * 768 * 768 // 128 + 1_538, None, None),
        ("delora", {}, 24 * (8 * 1_536 + 1) + 1_538, None, None),
        ("fourierft", {}, 24 * 1_000 + 1_538, None, None),
        ("gralora", {}, 296_450, None, None),
        ("gralora", {"k": 4}, 296_450, None, None),
        ("hra", {}, 148_994, None, None),
        ("loha", {}, 2 * 294_912 + 1_538, None, None),
        ("lokr", {}, 24 * (24 * 24 + 32 * 8 + 8 * 32) + 1_538, None, None),  # 768 is 24 x 32
        ("miss", {}, 24 * 16 * 768 + 1_538, None, None),
        ("randlora", {}, 24 * 24 * (32 + 768) + 1_538, None, None),
        ("road", {}, 24 * 768 + 1_538, None, None),
        ("road", {"variant": "road_4"}, 4 * 24 * 768 + 1_538, None, None),
        ("shira", {}, 296_450, None, None),
        ("waveft", {}, 24 * 2_592 + 1_538, None, None),
        ("lora_plus", {}, 1_340_930, 110_824_708, "1.209956"),
        ("pissa", {}, 1_340_930, 110_824_708, "1.209956"),
        ("eva", {}, 1_340_930, 110_824_708, "1.209956"),
        ("prompt", {}, 16_898, None, None),
        ("ptuning", {}, 230_914, None, None),
        ("bottleneck", {}, 894_528 + 1_538, None, None),
        ("bottleneck", {"placement": "houlsby"}, 2 * 894_528 + 24 * 1_536 + 1_538, None, None),
        ("prefix", {}, 14_781_698, None, None),
        ("prefix", {"num_virtual_tokens": 20, "projection": False}, 370_178, None, None),
    ],
)
def test_trainable_parameters_on_bert_base(name, arguments, trainable, total, percent):
    config = BertConfig(num_labels=2)
    strategy = create_strategy(name, arguments)
    context = StrategyContext(describe_encoder(config.to_dict(), "bert-base-uncased"), epochs=5, total_steps=30, dropout=0.1)
    with torch.device("meta"):
        model = BertForSequenceClassification(config)
        own_names = parameter_names(model)
        model = strategy.adapt(model, context)
    plan = plan_parameters(model, context.encoder, strategy.phases(context), own_names)
    assert plan.trainable_count == trainable
    if total:
        assert plan.total_count == total
    if percent:
        assert f"{plan.trainable_percent:.{len(percent.partition('.')[2])}f}" == percent
