#!/usr/bin/env bash
# Adapters on RoBERTa (and every model whose classifier is more than one layer) cannot be merged by peft, but for LoRA's.
#
# peft 0.21.2, `merge_and_unload()` of a sequence classifier: VeRA, (IA)3, OFT, HRA, LoHa, MiSS and FourierFT raise AttributeError
# ("'RobertaClassificationHead' object has no attribute 'weight'") on RoBERTa and merge on BERT, whose classifier is one layer. Putting
# the trained classifier back, peft reads its `weight`; LoRA and AdaLoRA do that in another way. By hand it works: `layer.merge()` for each
# adapted layer, then `layer.get_base_layer()` in its place. Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PY'
import copy, sys
import peft, torch, transformers
from peft import FourierFTConfig, HRAConfig, IA3Config, LoHaConfig, LoraConfig, MissConfig, OFTConfig, VeraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

transformers.logging.set_verbosity_error()
print("peft", peft.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
shape = dict(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
models = BertForSequenceClassification(BertConfig(**shape)), RobertaForSequenceClassification(RobertaConfig(**shape))
methods = [
    lambda **shared: LoraConfig(r=2, **shared),
    lambda **shared: OFTConfig(r=0, oft_block_size=4, **shared),
    lambda **shared: HRAConfig(r=2, **shared),
    lambda **shared: VeraConfig(r=2, **shared),
    lambda **shared: IA3Config(feedforward_modules=[], **shared),
    lambda **shared: FourierFTConfig(n_frequency=9, **shared),
    lambda **shared: MissConfig(r=4, **shared),
    lambda **shared: LoHaConfig(r=2, **shared),
]
seen = []
for method in methods:
    outcomes = []
    for model in models:
        config = method(task_type="SEQ_CLS", target_modules=["query", "value"])
        try:
            get_peft_model(copy.deepcopy(model), config).merge_and_unload()
            outcomes.append("merged")
        except AttributeError as error:
            outcomes.append(str(error))
    print(f"{type(config).__name__}: BERT {outcomes[0]}; RoBERTa {outcomes[1]}")
    seen.append((outcomes[0] == "merged", outcomes[1] == "merged"))
if seen != [(True, True)] + 7 * [(True, False)]:
    sys.exit("changed")
PY
