#!/usr/bin/env bash
# A tagger loads as a text classifier, its tag layer as the classifier, with a report that names the pooler alone or nothing.
#
# transformers 5.23.0: BertForTokenClassification and BertForSequenceClassification both call their last layer `classifier`, as do
# DistilBERT's and ModernBERT's. AutoModelForSequenceClassification.from_pretrained on a tagger with as many tags as there are classes keeps
# the tag layer and says that `bert.pooler` is missing (BERT) or `pre_classifier` (DistilBERT); of ModernBERT it reports nothing: head and
# classifier of the tagger answer as a text classifier. `architectures` in config.json would tell, and is not looked at.
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PY'
import sys, torch, transformers
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
from transformers import BertConfig, DistilBertConfig, ModernBertConfig

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__)
small = dict(vocab_size=50, num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=16)
special = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
expected = {"bert": ["bert.pooler.dense"], "distilbert": ["pre_classifier"], "modernbert": []}
for config in (
    BertConfig(**small),
    DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16),
    ModernBertConfig(**small, **special),
):
    config.id2label = {0: "O", 1: "B-PER"}
    tagger = AutoModelForTokenClassification.from_config(config)
    tagger.save_pretrained(config.model_type)
    model, info = AutoModelForSequenceClassification.from_pretrained(config.model_type, output_loading_info=True)
    said = sorted({name.rpartition(".")[0] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[key]})
    kept = torch.equal(model.classifier.weight, tagger.classifier.weight)
    print(f"{config.model_type}: the tag layer is the classifier: {kept}; reported: {said}")
    if not kept or said != expected[config.model_type]:
        sys.exit("changed")
PY
