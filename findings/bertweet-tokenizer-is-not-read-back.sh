#!/usr/bin/env bash
# transformers 5.23.0: BertweetTokenizer.save_pretrained writes bpe.codes as pairs, and reading expects a third column (the
# frequency of fastBPE) which it cuts off. So a saved tokenizer reads every merge as half a pair, joins nothing, and cuts words
# that the vocabulary holds into characters. Nothing is said. A model that was fine-tuned and saved
# with its tokenizer is so asked for other tokens than it was trained on; the original folder's bpe.codes beside it mends that.
#
# Guess: a tokenizer that was saved reads texts as before.
# Output seen:
#   transformers 5.23.0
#   before: ['good', 'film']
#   saved:  ['g o', 'o d</w>', 'go od</w>', 'f i', 'l m</w>', 'fi lm</w>']
#   after:  ['g@@', 'o@@', 'o@@', 'd', 'f@@', 'i@@', 'l@@', 'm']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q transformers==5.23.0
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import os
from importlib.metadata import version
from pathlib import Path

os.makedirs("original")
Path("original/vocab.txt").write_text("good 10\nfilm 9\ngo@@ 5\no@@ 4\n")
Path("original/bpe.codes").write_text("g o 9\no d</w> 8\ngo od</w> 7\nf i 6\nl m</w> 5\nfi lm</w> 4\n")
from transformers import BertweetTokenizer

print("transformers", version("transformers"))
tokenizer = BertweetTokenizer("original/vocab.txt", "original/bpe.codes")
before = tokenizer.tokenize("good film")
tokenizer.save_pretrained("saved")
after = BertweetTokenizer.from_pretrained("saved").tokenize("good film")
print("before:", before)
print("saved: ", Path("saved/bpe.codes").read_text().splitlines())
print("after: ", after)
assert before == ["good", "film"]
assert Path("saved/bpe.codes").read_text().splitlines()[0] == "g o", "the third column is written now"
assert after != before, "what was saved is read as it was"
PYTHON
