#!/usr/bin/env bash
# A checkpoint that holds one parameter under two names loads without a word, and which of the two is taken is decided by sorting.
#
# transformers 5.23.0, `from_pretrained`: a tensor's name is renamed (old layer norms' `beta` to `bias`, the family's prefix put before it or taken
# away) and sorted into the model. Where two tensors of a file come to one parameter, the first in natural order is used, the
# other one dropped; missing, unexpected and mismatched keys are all empty. Whoever compares the report's sets sees nothing.
# Seen: "bert.embeddings.LayerNorm.bias" beats "embeddings.LayerNorm.bias", "...beta" beats "...bias", report empty in both.
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 safetensors
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import sys, torch, transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

transformers.logging.set_verbosity_error()
config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
BertModel(config).save_pretrained("m")
weights = load_file("m/model.safetensors")
print("transformers", transformers.__version__)
for other in ("bert.embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"):
    save_file({**weights, other: torch.full((16,), 5.0)}, "m/model.safetensors", {"format": "pt"})
    model, info = BertModel.from_pretrained("m", output_loading_info=True)
    said = sorted(set().union(*(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))))
    value = float(model.embeddings.LayerNorm.bias[0])
    print(f"{other} (5.0) beside embeddings.LayerNorm.bias (0.0): used {value}, reported {said}")
    if value != 5.0 or said:
        sys.exit("changed")
PY
