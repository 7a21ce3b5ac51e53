#!/usr/bin/env bash
# X-MOD stops under autocast, in bfloat16 as in float16, with every text; XLM-RoBERTa, which it extends, does not.
#
# transformers 5.23.0: `XmodOutput.lang_adapter` writes what a language's adapter returns into `torch.zeros_like(hidden_states)`. Under
# autocast the adapter's last linear layer returns bfloat16, the states are float32, and a write by a mask wants one type. A model that
# is loaded in bfloat16 works. Seen here:
#   xmod, autocast to torch.bfloat16: RuntimeError: Index put requires the source and destination dtypes match, got Float for the
#   destination and BFloat16 for the source.
#   xmod, autocast to torch.float16: the same, with Half for the source
#   xmod, loaded in torch.bfloat16: computes
#   xlm-roberta, autocast to torch.bfloat16: computes
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import sys
import torch, transformers
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XmodConfig, XmodForSequenceClassification

print("transformers", transformers.__version__, "torch", torch.__version__)
small = dict(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, pad_token_id=1)
texts = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 9, 2, 1]])
inputs = {"input_ids": texts, "attention_mask": (texts != 1).long()}


def outcome(model, dtype):
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            return "computes" if model.eval()(**inputs).logits.isfinite().all() else "is not finite"
    except RuntimeError as error:
        return f"RuntimeError: {error}"


xmod = XmodForSequenceClassification(XmodConfig(**small, languages=("en_XX", "de_DE"), default_language="en_XX"))
seen = {
    "xmod": outcome(xmod, None),
    "xmod, autocast to torch.bfloat16": outcome(xmod, torch.bfloat16),
    "xmod, autocast to torch.float16": outcome(xmod, torch.float16),
    "xmod, loaded in torch.bfloat16": outcome(xmod.to(torch.bfloat16), None),
    "xlm-roberta, autocast to torch.bfloat16": outcome(XLMRobertaForSequenceClassification(XLMRobertaConfig(**small)), torch.bfloat16),
}
for case, result in seen.items():
    print(f"{case}: {result}")
stopped = [case for case, result in seen.items() if "dtypes match" in result]
if stopped != ["xmod, autocast to torch.bfloat16", "xmod, autocast to torch.float16"]:
    sys.exit("changed")
PY
