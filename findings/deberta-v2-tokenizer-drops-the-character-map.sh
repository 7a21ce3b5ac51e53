#!/usr/bin/env bash
# transformers 5.23.0: DebertaV2Tokenizer leaves out the character map (nmt_nfkc) of the SentencePiece model that it is made
# from, so full-width letters, ligatures, "…" and no-break spaces become [UNK] where SentencePiece, and pretraining, saw plain
# characters. It also drops the map that a tokenizer.json holds. XLMRobertaTokenizer applies the same map. Seen here:
#   ｆｉｌｍ        SentencePiece ▁film             DebertaV2Tokenizer ▁ [UNK]
#   the film…   SentencePiece ... ▁film . ..    DebertaV2Tokenizer ... ▁film [UNK]
# DeBERTa-v3 is published with spm.model alone, so this is how its texts are read. Exits 1 if the tokens no longer differ.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" transformers==5.23.0 tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2
PYTHONPATH="$folder" python3 - "$folder" <<'PYTHON'
import sys
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import DebertaV2Tokenizer, __version__

print("transformers", __version__)
model = Path(sys.argv[1]) / "model" / "spm.model"
model.parent.mkdir()
with model.open("wb") as file:
    SentencePieceTrainer.train(
        sentence_iterator=iter(["the film ...", "the plot of the film", "a film"] * 50), model_writer=file, vocab_size=40,
        hard_vocab_limit=False, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]", minloglevel=2, normalization_rule_name="nmt_nfkc",
    )
published = SentencePieceProcessor(model_file=str(model))
tokenizer = DebertaV2Tokenizer.from_pretrained(model.parent)
assert tokenizer("a film", add_special_tokens=False)["input_ids"] == published.encode("a film"), "plain texts are the same"
differing = []
for text in ("ｆｉｌｍ", "ﬁlm", "the film…", "the\u00a0film"):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces, tokens = published.encode(text, out_type=str), tokenizer.convert_ids_to_tokens(ids)
    differing.append(pieces != tokens)
    print(f"{text!r}: SentencePiece {' '.join(pieces)} | DebertaV2Tokenizer {' '.join(tokens)}")
sys.exit(not all(differing))
PYTHON
