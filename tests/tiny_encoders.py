"""Tiny checkpoints of every architecture, with random weights and a tokenizer of a few words."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from plain_models import PUBLISHED

GOOD = ("fine", "great", "lovely", "sharp", "warm", "witty")
BAD = ("bland", "cheap", "dull", "grim", "stale", "weak")
PLAIN = ("actor", "and", "film", "is", "it", "movie", "of", "plot", "scene", "story", "the", "this", "was", "with")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-éü"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{x}" for x in LETTERS), *GOOD, *BAD, *PLAIN]
VOCABULARY += [f"word{number}" for number in range(200 - len(VOCABULARY))]
DEPTH = 4


def _sizes(heads: int = 2) -> dict[str, int]:
    return {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": heads,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }


def _save(folder: Path, cls: str, config: Any, pooler: bool | None = None) -> None:
    """Write an encoder without a classifier and with random weights, wide enough to make texts differ."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, cls)(config, **({} if pooler is None else {"add_pooling_layer": pooler}))
    model.save_pretrained(folder)


def _save_wordpieces(folder: Path) -> None:
    from transformers import BertTokenizerFast

    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def _save_unigrams(folder: Path, cls: str, special: list[str]) -> None:
    """As SentencePiece would learn it: words with the mark of a space before them, then letters."""
    import transformers

    words = [f"▁{word}" for word in VOCABULARY if word.isalnum()]
    pieces = [*special, "▁", *LETTERS, *words]
    vocabulary = [(piece, 0.0 if piece in special else -1.0 - 0.01 * rank) for rank, piece in enumerate(pieces)]
    getattr(transformers, cls)(vocab=vocabulary[: len(VOCABULARY)]).save_pretrained(folder)


def _save_byte_pairs(folder: Path, cls: str, special: dict[str, str], **options: Any) -> None:
    """Pairs of bytes, learnt from the words."""
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    names = list(dict.fromkeys(special.values()))
    learnt = ByteLevelBPETokenizer()
    learnt.train_from_iterator([f" {word}" for word in (*GOOD, *BAD, *PLAIN)] * 3, len(names) + 256 + 60, special_tokens=names)
    content = json.loads(learnt.to_str())["model"]
    merges = [tuple(pair) for pair in content["merges"]]
    if cls != "PreTrainedTokenizerFast":
        getattr(transformers, cls)(vocab=content["vocab"], merges=merges, **special).save_pretrained(folder)
        return
    from tokenizers.processors import TemplateProcessing

    around = [(special[name], content["vocab"][special[name]]) for name in ("cls_token", "sep_token")]
    learnt._tokenizer.post_processor = TemplateProcessing(
        single=f"{special['cls_token']} $A {special['sep_token']}", special_tokens=around
    )
    getattr(transformers, cls)(tokenizer_object=learnt._tokenizer, **special, **options).save_pretrained(folder)


_BYTE_VOCABULARY = 384


def _write_bert(folder: Path, pooler: bool) -> None:
    from transformers import BertConfig

    _save(folder, "BertModel", BertConfig(**_sizes(), initializer_range=0.2), pooler)
    _save_wordpieces(folder)


def _write_distilbert(folder: Path, pooler: bool) -> None:
    from transformers import DistilBertConfig

    shape = {"dim": 32, "n_layers": DEPTH, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64}
    _save(folder, "DistilBertModel", DistilBertConfig(vocab_size=len(VOCABULARY), **shape, initializer_range=0.2))
    _save_wordpieces(folder)


def _write_electra(folder: Path, pooler: bool) -> None:
    from transformers import ElectraConfig

    _save(folder, "ElectraModel", ElectraConfig(**_sizes(), embedding_size=16, initializer_range=0.2))
    _save_wordpieces(folder)


def _write_with_byte_pairs(cls: str, folder: Path, pooler: bool) -> None:
    """A model with RoBERTa's sizes and tokenizer."""
    import transformers

    sizes = _sizes() | {"vocab_size": _BYTE_VOCABULARY, "type_vocab_size": 1}
    _save(folder, f"{cls}Model", getattr(transformers, f"{cls}Config")(**sizes, initializer_range=0.2), pooler)
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    _save_byte_pairs(folder, "RobertaTokenizer", {**special, "cls_token": "<s>", "sep_token": "</s>"})


def _write_with_unigrams(cls: str, folder: Path, pooler: bool, **settings: Any) -> None:
    """A model with XLM-RoBERTa's sizes and tokenizer."""
    import transformers

    sizes = _sizes() | {"type_vocab_size": 1, "pad_token_id": 1, "initializer_range": 0.2}
    _save(folder, f"{cls}Model", getattr(transformers, f"{cls}Config")(**sizes, **settings), pooler)
    _save_unigrams(folder, "XLMRobertaTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def _write_camembert(folder: Path, pooler: bool) -> None:
    from transformers import CamembertConfig

    _save(folder, "CamembertModel", CamembertConfig(**_sizes() | {"type_vocab_size": 1}, initializer_range=0.2), pooler)
    unused = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"]
    _save_unigrams(folder, "CamembertTokenizer", [*unused, "<s>", "</s>", "<mask>"])


def _write_ernie(folder: Path, pooler: bool) -> None:
    from transformers import ErnieConfig

    _save(folder, "ErnieModel", ErnieConfig(**_sizes(), use_task_id=True, initializer_range=0.2), pooler)
    _save_wordpieces(folder)


def _write_rembert(folder: Path, pooler: bool) -> None:
    from transformers import RemBertConfig

    narrow = {"input_embedding_size": 16, "output_embedding_size": 16, "bos_token_id": 1, "eos_token_id": 3}
    _save(folder, "RemBertModel", RemBertConfig(**_sizes(), **narrow, initializer_range=0.2), pooler)
    _save_unigrams(folder, "RemBertTokenizer", ["<pad>", "[CLS]", "<unk>", "[SEP]", "[MASK]"])


def _write_albert(folder: Path, pooler: bool) -> None:
    from transformers import AlbertConfig

    _save(folder, "AlbertModel", AlbertConfig(**_sizes(), embedding_size=16, initializer_range=0.2), pooler)
    _save_unigrams(folder, "AlbertTokenizer", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])


def _write_modernbert(folder: Path, pooler: bool) -> None:
    from transformers import ModernBertConfig

    sizes = _sizes() | {"vocab_size": _BYTE_VOCABULARY}
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    ids = {"cls_token_id": 1, "sep_token_id": 2, "pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2}
    _save(folder, "ModernBertModel", ModernBertConfig(**sizes, **ids, local_attention=8, initializer_range=0.2))
    _save_byte_pairs(folder, "PreTrainedTokenizerFast", special, model_max_length=8192)


def _write_deberta(folder: Path, pooler: bool) -> None:
    from transformers import DebertaConfig

    config = DebertaConfig(**_sizes() | PUBLISHED["deberta"] | {"vocab_size": _BYTE_VOCABULARY}, initializer_range=0.2)
    _save(folder, "DebertaModel", config)
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    _save_byte_pairs(folder, "DebertaTokenizer", special)


def deberta_v2_config(**changes: Any) -> Any:
    """DeBERTa-v3's, and the convolution of DeBERTa-v2."""
    from transformers import DebertaV2Config

    published = PUBLISHED["deberta-v2"] | {"position_buckets": 8, "share_att_key": True, "legacy": False}
    return DebertaV2Config(**_sizes() | published | {"initializer_range": 0.2} | changes)


def _write_deberta_v2(folder: Path, pooler: bool) -> None:
    _save(folder, "DebertaV2Model", deberta_v2_config())
    _save_unigrams(folder, "DebertaV2Tokenizer", ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])


def _write_luke(folder: Path, pooler: bool) -> None:
    from transformers import LukeConfig

    config = LukeConfig(**_sizes(), entity_vocab_size=8, entity_emb_size=16, pad_token_id=0, initializer_range=0.2)
    _save(folder, "LukeModel", config, pooler)
    _save_wordpieces(folder)


def _write_mpnet(folder: Path, pooler: bool) -> None:
    from transformers import MPNetConfig, MPNetTokenizer

    _save(folder, "MPNetModel", MPNetConfig(**_sizes(), initializer_range=0.2), pooler)
    pieces = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *VOCABULARY[5:]]
    MPNetTokenizer(vocab={piece: rank for rank, piece in enumerate(pieces)}).save_pretrained(folder)


def write_like_its_defaults(folder: Path, pooler: bool, family: str) -> None:
    """A family of which nothing is known: its config with BERT's names of sizes, and BERT's tokenizer."""
    import inspect

    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    config = CONFIG_MAPPING[family](**_sizes(), pad_token_id=0, initializer_range=0.2)
    takes_pooler = "add_pooling_layer" in inspect.signature(AutoModel._model_mapping[type(config)].__init__).parameters
    torch.manual_seed(0)
    AutoModel.from_config(config, **({"add_pooling_layer": pooler} if takes_pooler else {})).save_pretrained(folder)
    _save_wordpieces(folder)


FAMILIES: dict[str, Callable[[Path, bool], None]] = {
    "albert": _write_albert,
    "bert": _write_bert,
    "camembert": _write_camembert,
    "data2vec-text": partial(_write_with_byte_pairs, "Data2VecText"),
    "deberta": _write_deberta,
    "deberta-v2": _write_deberta_v2,
    "distilbert": _write_distilbert,
    "electra": _write_electra,
    "luke": _write_luke,
    "ernie": _write_ernie,
    "modernbert": _write_modernbert,
    "mpnet": _write_mpnet,
    "rembert": _write_rembert,
    "roberta": partial(_write_with_byte_pairs, "Roberta"),
    "roberta-prelayernorm": partial(_write_with_byte_pairs, "RobertaPreLayerNorm"),
    "xlm-roberta": partial(_write_with_unigrams, "XLMRoberta"),
    "xlm-roberta-xl": partial(_write_with_unigrams, "XLMRobertaXL"),
    "xmod": partial(_write_with_unigrams, "Xmod", languages=["de_DE", "en_XX"], default_language="en_XX"),
}
"""What writes a tiny checkpoint of an architecture, `write(folder, pooler)`, where its defaults do not do.

Without a pooler, the checkpoint lacks what the classifier of the family would use of it (BERT, ALBERT).
"""
