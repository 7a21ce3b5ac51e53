#!/usr/bin/env bash
# MRA answers without attention where its CUDA kernel is not loaded: every text gets the same logits, without error or warning.
#
# transformers 5.23.0: `mra2_attention` returns zeros if `mra_cuda_kernel` is None, and the kernel is loaded on a machine with CUDA alone.
# So on a CPU a token's state depends on that token and its position, and a classifier, which reads the first token, on nothing else:
# two texts with other words have equal logits. Seen here, and of BERT beside it, with weights drawn from N(0, 0.5):
#   mra: logits equal: True; states of the words that two texts share equal: True; warnings: 0
#   bert: logits equal: False; states of the words that two texts share equal: False; warnings: 0
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0
cd "$work"
CUDA_VISIBLE_DEVICES="" HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import logging, sys, warnings
import torch, transformers
from transformers import BertConfig, BertForSequenceClassification, MraConfig, MraForSequenceClassification

print("transformers", transformers.__version__, "torch", torch.__version__)
said = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: said.append(record.getMessage())
transformers.logging.add_handler(handler)
small = dict(
    vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64,
    initializer_range=0.5,
)
texts = torch.tensor([[1, *range(5, 15), 30, 2], [1, *range(15, 25), 30, 2]])  # [CLS], ten words of its own, one that both have, [SEP]
inputs = {"input_ids": texts, "attention_mask": torch.ones_like(texts)}
seen = {}
for config_class, model_class in ((MraConfig, MraForSequenceClassification), (BertConfig, BertForSequenceClassification)):
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        model = model_class(config_class(**small)).eval()
        one, other = model(**inputs).logits
        states = model.base_model(**inputs).last_hidden_state
    name, shared = config_class.model_type, slice(-2, None)
    seen[name] = torch.equal(one, other), torch.equal(states[0, shared], states[1, shared]), len(caught) + len(said)
    print(
        f"{name}: logits equal: {seen[name][0]}; states of the words that two texts share equal: {seen[name][1]}; "
        f"warnings: {seen[name][2]}"
    )
if seen != {"mra": (True, True, 0), "bert": (False, False, 0)}:
    sys.exit("changed")
PY
