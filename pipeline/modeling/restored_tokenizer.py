"""What transformers loses of tokenizers, put back: when a folder is read, and when one is written.

A normalization. SentencePiece maps characters before it splits: full-width letters, ligatures, no-break spaces to plain ones.
The map lies in the model. transformers 5.23.0 hands it to some tokenizers and drops it in others, such as `DebertaV2Tokenizer`,
which then make unknown tokens of such characters, also where `tokenizer.json` holds the map.

Merges. `BertweetTokenizer.save_pretrained` (5.23.0) writes `bpe.codes` as pairs, and reads it with a third column, which it
cuts off: of what it wrote it reads every pair as its first half, and joins nothing any more.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from pipeline.json_text import parse_json

_PRECOMPILED = "Precompiled"
"""What the library tokenizers calls such a map."""
_CODES = "bpe.codes"


def restore_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Let a tokenizer read texts as its folder says.

    Args:
        tokenizer: As transformers made it from the folder.

    Raises:
        ValueError: The folder does not say it: its `bpe.codes` was written from one that had been read wrongly.
    """
    _restore_normalization(tokenizer, folder)
    if hasattr(tokenizer, "bpe_ranks") and (pairs := _read_bare_pairs(folder / _CODES)):
        tokenizer.bpe_ranks = {pair: rank for rank, pair in enumerate(pairs)}
        tokenizer.cache = {}
        tokenizer.has_restored_merges = True  # ids of before are told apart by it


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer such that transformers reads the same from the folder."""
    tokenizer.save_pretrained(folder)
    codes = folder / _CODES
    if pairs := _read_bare_pairs(codes):
        ranked = zip(pairs, range(len(pairs), 0, -1), strict=True)
        codes.write_text("".join(f"{first} {second} {count}\n" for (first, second), count in ranked), encoding="utf-8")


def _read_bare_pairs(codes: Path) -> list[tuple[str, str]]:
    """The pairs of a file that has nothing else; none where it has counts, too, or is not there.

    Raises:
        ValueError: It holds halves.
    """
    if not codes.is_file():
        return []
    lines = [line.split() for line in codes.read_text(encoding="utf-8").split("\n") if line]
    columns = {len(line) for line in lines}
    if columns == {1}:
        raise ValueError(f"{_CODES} holds halves of pairs: it was written of one that was read wrongly. Copy the original")
    return [(first, second) for first, second in lines] if columns == {2} else []


def _restore_normalization(tokenizer: Any, folder: Path) -> None:
    """Let a tokenizer map characters first as the SentencePiece model of its folder says, unless it does so already."""
    from tokenizers import models, normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, models.Unigram):
        return
    own = [] if backend.normalizer is None else [backend.normalizer]
    if any(_find_maps(json.loads(normalizer.__getstate__())) for normalizer in own):
        return
    if characters := _read_map(tokenizer, folder):
        backend.normalizer = normalizers.Sequence([normalizers.Precompiled(characters), *own])


def _read_map(tokenizer: Any, folder: Path) -> bytes:
    """The map in the SentencePiece model, else in `tokenizer.json`; empty where there is none."""
    from transformers.convert_slow_tokenizer import SentencePieceExtractor

    model = folder / str(tokenizer.vocab_files_names.get("vocab_file"))
    if model.suffix == ".model" and model.is_file():
        return bytes(SentencePieceExtractor(str(model)).proto.normalizer_spec.precompiled_charsmap)
    file = folder / "tokenizer.json"
    maps = _find_maps(parse_json(file.read_text(encoding="utf-8")).get("normalizer")) if file.is_file() else []
    return base64.b64decode(maps[0]) if maps else b""


def _find_maps(normalizer: dict[str, Any] | None) -> list[str]:
    """The maps in what `tokenizer.json` says of a normalizer, or of a sequence of them."""
    inside = (normalizer or {}).get("normalizers", [normalizer])
    return [part["precompiled_charsmap"] for part in inside if part and part.get("type") == _PRECOMPILED]
