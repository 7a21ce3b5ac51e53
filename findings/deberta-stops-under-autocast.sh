#!/usr/bin/env bash
# DeBERTa (version 1) stops under autocast, in bfloat16 as in float16, with every text; DeBERTa-v2 does not.
#
# transformers 5.23.0: `DisentangledSelfAttention.forward` masks `attention_scores` with the lowest number of `query_layer`'s type. Under
# autocast its bias makes `query_layer` float32, while a product of matrices is bfloat16, in which that number does not fit. A model that
# is loaded in bfloat16 works. An issue of 2024 (huggingface/transformers#35332) was closed, its mend (#35336) is not merged. Seen here:
#   deberta, autocast to torch.bfloat16: RuntimeError: value cannot be converted to type c10::BFloat16 without overflow
#   deberta, autocast to torch.float16: RuntimeError: value cannot be converted to type c10::Half without overflow
#   deberta, loaded in torch.bfloat16: computes
#   deberta-v2, autocast to torch.bfloat16: computes
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers import DebertaConfig, DebertaForSequenceClassification, DebertaV2Config, DebertaV2ForSequenceClassification

print("transformers", transformers.__version__, "torch", torch.__version__)
small = dict(
    vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, relative_attention=True,
    pos_att_type=["c2p", "p2c"],
)
texts = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 9, 2, 0]])
inputs = {"input_ids": texts, "attention_mask": (texts != 0).long()}


def outcome(model, dtype):
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            return "computes" if model.eval()(**inputs).logits.isfinite().all() else "is not finite"
    except RuntimeError as error:
        return f"RuntimeError: {error}"


deberta = DebertaForSequenceClassification(DebertaConfig(**small))
seen = {
    "deberta": outcome(deberta, None),
    "deberta, autocast to torch.bfloat16": outcome(deberta, torch.bfloat16),
    "deberta, autocast to torch.float16": outcome(deberta, torch.float16),
    "deberta, loaded in torch.bfloat16": outcome(deberta.to(torch.bfloat16), None),
    "deberta-v2, autocast to torch.bfloat16": outcome(DebertaV2ForSequenceClassification(DebertaV2Config(**small)), torch.bfloat16),
}
for case, result in seen.items():
    print(f"{case}: {result}")
stopped = [case for case, result in seen.items() if "without overflow" in result]
if stopped != ["deberta, autocast to torch.bfloat16", "deberta, autocast to torch.float16"]:
    sys.exit("changed")
PY
