#!/usr/bin/env bash
# EVA's data-driven start of LoRA fails on BERT as soon as the pooler is among the adapted layers, as `all-linear` has it.
#
# peft 0.21.2, `initialize_lora_eva_weights` with its default functions: they pick tokens out of what a layer is given by the attention
# mask, row and position. A pooler is given first tokens alone, shape [texts, width]: single numbers are picked out of these, and peft stops
# with "not enough values to unpack (expected 2, got 1)". Queries and values alone work. Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PY'
import sys
import peft, torch, transformers
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from transformers import BertConfig, BertForSequenceClassification

transformers.logging.set_verbosity_error()
print("peft", peft.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
shape = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
torch.manual_seed(0)
ids = torch.randint(5, 50, (8, 12))
batches = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]
seen = []
for targets in (["query", "value"], ["query", "value", "pooler.dense"]):
    eva = EvaConfig(rho=1.0)
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=targets, init_lora_weights="eva", eva_config=eva)
    model = get_peft_model(BertForSequenceClassification(shape), config)
    try:
        initialize_lora_eva_weights(model, batches, show_progress_bar=False)
        seen.append("begun")
    except ValueError as error:
        seen.append(str(error))
    print(targets, seen[-1])
if seen != ["begun", "not enough values to unpack (expected 2, got 1)"]:
    sys.exit("changed")
PY
