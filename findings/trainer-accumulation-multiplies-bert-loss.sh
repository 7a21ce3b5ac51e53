#!/usr/bin/env bash
# The Trainer with gradient accumulation: of BERT and DistilBERT the logged loss and the gradient norm are N times those of the same
# batch in one piece, N being `gradient_accumulation_steps`.
#
# transformers 5.23.0: the Trainer leaves the division by N to a model whose `forward` takes **kwargs, for such a model may divide by
# `num_items_in_batch`. These take them and compute the plain mean. AdamW hides the factor; clipping by norm does not: `max_grad_norm`
# bites N times as early. With `Trainer.loss_is_scaled_for_ga = False` both are right. Seen here:
#   bert in one piece: loss 0.6958, gradient norm 0.1257
#   bert in four: loss 2.7831, gradient norm 0.5029
#   bert in four, loss_is_scaled_for_ga = False: loss 0.6958, gradient norm 0.1257
#   distilbert in one piece: loss 0.6925, gradient norm 0.1165
#   distilbert in four: loss 2.7701, gradient norm 0.4659
#   distilbert in four, loss_is_scaled_for_ga = False: loss 0.6925, gradient norm 0.1165
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import logging, sys
import torch, transformers
from transformers import (
    BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification, Trainer, TrainingArguments,
)

print("transformers", transformers.__version__, "torch", torch.__version__)
logging.disable(logging.WARNING)
bert = BertConfig(
    vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
distilbert = DistilBertConfig(
    vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0
)
rows = [{"input_ids": torch.arange(1, 7) * (1 + i % 7), "labels": i % 2} for i in range(8)]


def first_step(make, pieces, scaled=None):
    torch.manual_seed(0)
    arguments = TrainingArguments(
        "out", per_device_train_batch_size=8 // pieces, gradient_accumulation_steps=pieces, max_steps=1, logging_steps=1,
        report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True,
    )
    trainer = Trainer(make(), arguments, train_dataset=rows)
    if scaled is not None:
        trainer.loss_is_scaled_for_ga = scaled
    trainer.train()
    return next((float(log["loss"]), float(log["grad_norm"])) for log in trainer.state.log_history if "grad_norm" in log)


ratios = {}
for name, make in (
    ("bert", lambda: BertForSequenceClassification(bert)), ("distilbert", lambda: DistilBertForSequenceClassification(distilbert))
):
    whole, cut, told = (first_step(make, *how) for how in ((1,), (4,), (4, False)))
    ratios[name] = [(cut[i] / whole[i], told[i] / whole[i]) for i in (0, 1)]
    for case, (loss, norm) in (("in one piece", whole), ("in four", cut), ("in four, loss_is_scaled_for_ga = False", told)):
        print(f"{name} {case}: loss {loss:.4f}, gradient norm {norm:.4f}")
if not all(3.9 < cut < 4.1 and 0.98 < told < 1.02 for pairs in ratios.values() for cut, told in pairs):
    sys.exit("changed")
PY
