"""The normalization of texts that a SentencePiece model was trained with, where transformers leaves it out.

SentencePiece maps characters before it splits: full-width letters, ligatures and no-break spaces to plain ones. The map lies in
the model. transformers 5.23.0 hands it to some tokenizers and drops it in others, such as `DebertaV2Tokenizer`, which then make
unknown tokens of such characters, also where `tokenizer.json` holds the map.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from pipeline.json_text import parse_json

_PRECOMPILED = "Precompiled"
"""What the library tokenizers calls such a map."""


def restore_normalization(tokenizer: Any, folder: Path) -> None:
    """Let a tokenizer map characters first as the SentencePiece model of its folder says, unless it does so already.

    Args:
        tokenizer: As transformers made it from the folder.
    """
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
