#!/usr/bin/env bash
# Prefix tuning that begins at zero in peft, as its own option offers, has one virtual token, however many are asked for.
#
# peft 0.21.2, `PrefixTuningConfig(num_virtual_tokens=20, init_weights="zero")` without projection: the documentation calls it a start
# that changes nothing. All 20 rows begin equal, get equal gradients, and so stay equal: 100 steps of AdamW with dropout 0 leave 20
# copies of one token (1 distinct row, rank 1), though 20 are trained, counted and saved. Drawn at random they stay 20. Only dropout of
# attention tells the rows apart: with 0.1 they are 20 again. So a study without dropout compares "20 tokens" with 20 times one.
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import sys
import peft, torch, transformers
from peft import PrefixTuningConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
print("peft", peft.__version__, "transformers", transformers.__version__, "torch", torch.__version__)


def trained_tokens(init_weights, dropout):
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )
    config = PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=20, init_weights=init_weights)
    model = get_peft_model(BertForSequenceClassification(shape), config).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    ids = torch.randint(5, 50, (32, 12))
    labels = (ids[:, 3] > 27).long()
    for _ in range(100):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.prompt_encoder["default"].embedding.weight.detach()


seen = {}
for init_weights in (None, "zero"):
    for dropout in (0.0, 0.1):
        tokens = trained_tokens(init_weights, dropout)
        rank = int(torch.linalg.matrix_rank(tokens, rtol=1e-4))
        seen[init_weights, dropout] = rank
        print(f"init_weights={init_weights!r}, dropout {dropout}: 20 rows of mean length {float(tokens.norm(dim=1).mean()):.2f}, rank {rank}")
if seen != {(None, 0.0): 20, (None, 0.1): 20, ("zero", 0.0): 1, ("zero", 0.1): 20}:
    sys.exit("changed")
PY
