#!/usr/bin/env bash
# A model that is quantised to four bits while it is loaded onto a CPU holds as much memory as one that is not: the whole file stays mapped.
#
# transformers 5.23.0, bitsandbytes 0.50.0: weights of bert-base's shape take 418 MB in float32 and 132 MB packed. After loading the process
# has grown by about 380 MB, of which about 325 MB are pages of model.safetensors: embeddings and norms are not packed and stay views of the
# mapped file, and the pages of the packed layers were read once and stay resident beside them. Copying the parameters that are not packed
# ends the mapping. Clean pages can be taken back when memory runs short, but they count in the resident size. Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 bitsandbytes==0.50.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PY'
import gc, re, sys
import bitsandbytes, torch, transformers
from transformers import BertConfig, BertForSequenceClassification, BitsAndBytesConfig

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
print("transformers", transformers.__version__, "bitsandbytes", bitsandbytes.__version__, "torch", torch.__version__)

def mapped_mb():
    """Resident MB of the mapped file of weights."""
    total, name = 0.0, ""
    for line in open("/proc/self/smaps"):
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = line.split()[-1]
        elif line.startswith("Rss:") and name.endswith("model.safetensors"):
            total += int(line.split()[1]) / 1024
    return total

BertForSequenceClassification(BertConfig()).save_pretrained("model")
packing = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, llm_int8_skip_modules=["classifier", "pooler"]
)
model = BertForSequenceClassification.from_pretrained("model", quantization_config=packing, device_map={"": "cpu"})
gc.collect()
held = sum(parameter.nbytes for parameter in model.parameters()) / 2**20
before = mapped_mb()
for parameter in model.parameters():
    if parameter.is_floating_point():
        parameter.data = parameter.data.clone()
gc.collect()
after = mapped_mb()
print(f"parameters {held:.0f} MB; pages of the file {before:.0f} MB, after copying what is not packed {after:.0f} MB")
if not (held < 150 and before > 300 and after == 0):
    sys.exit("changed")
PY
