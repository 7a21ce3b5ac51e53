#!/usr/bin/env bash
# BOFT with two butterfly factors trains one, unless peft could compile its CUDA extension when the model was wrapped.
#
# peft 0.21.2, `BOFTConfig(boft_n_butterfly_factor=2)`: where the extension cannot be compiled (no GPU, no nvcc, no ninja) a layer is
# made with one factor, that is plain OFT with a scale. The config still says 2, half as many parameters train, and a warning is all that
# is said. Adapters of the two kinds of machine do not fit each other. Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$work"
CUDA_VISIBLE_DEVICES="" HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PY'
import sys
import peft, torch, transformers
from peft import BOFTConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

transformers.logging.set_verbosity_error()
print("peft", peft.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
shapes = {}
for factors in (1, 2):
    shape = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    config = BOFTConfig(task_type="SEQ_CLS", boft_block_size=4, boft_n_butterfly_factor=factors, target_modules=["query", "value"])
    model = get_peft_model(BertForSequenceClassification(shape), config)
    shapes[factors] = next(tuple(value.shape) for name, value in model.named_parameters() if "boft_R" in name)
    said = model.peft_config["default"].boft_n_butterfly_factor
    print(f"asked for {factors}, config says {said}, boft_R has shape {shapes[factors]}, {model.get_nb_trainable_parameters()[0]} train")
if shapes != {1: (1, 8, 4, 4), 2: (1, 8, 4, 4)}:
    sys.exit("changed")
PY
