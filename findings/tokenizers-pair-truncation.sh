#!/usr/bin/env bash
# tokenizers 0.23.3: cutting a PAIR of texts to max_length makes every combination of the pieces that are cut off the first text
# with those that are cut off the second, asked for or not. Twice the length takes four times the pieces (and time); without a
# limit, or with one text alone, the work is linear. Seen here with pairs cut to 64 tokens:
#   words a text   pieces made (overflowing)    seconds
#       2,000               3,968                 0.4
#       4,000              15,624                 1.9
#       8,000              62,499                 6.8
#      16,000             249,999                21.9     (without a limit: 0.03)
# `tokenizer(firsts, seconds, truncation=True)` of transformers is this call. Exits 1 if the pieces no longer grow fourfold.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tokenizers==0.23.3
PYTHONPATH="$folder" python3 - <<'PYTHON'
import sys
import time

from tokenizers import Tokenizer, __version__, models, pre_tokenizers

print("tokenizers", __version__)
tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
pieces = []
for words in (1_000, 2_000, 4_000):
    text = "a " * words
    tokenizer.enable_truncation(64)
    began = time.perf_counter()
    encoding = tokenizer.encode(text, text)
    seconds = time.perf_counter() - began
    pieces.append(len(encoding.overflowing))
    alone = len(tokenizer.encode(text).overflowing)
    tokenizer.no_truncation()
    began = time.perf_counter()
    whole = len(tokenizer.encode(text, text).ids)
    print(f"{words:6,} words: a pair cut to {len(encoding.ids)} tokens makes {pieces[-1]:6,} pieces in {seconds:.2f} s; "
          f"one text {alone}; the pair whole ({whole:,} tokens) {time.perf_counter() - began:.2f} s")
sys.exit(not all(3.5 < later / former < 4.5 for former, later in zip(pieces, pieces[1:])))
PYTHON
