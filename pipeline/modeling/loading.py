"""Load an encoder with a classifier, and its tokenizer. Weights only: no code of a model is ever run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError, refused_pickle, shorten
from pipeline.failures import is_exhausted
from pipeline.modeling.addresses import ModelAddress, check_files
from pipeline.modeling.encoder import FAMILY_HEAD, Encoder
from pipeline.modeling.first_token import compute_first_token_only
from pipeline.modeling.heads.registry import head_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHORTEST_INPUT = 4  # tokens; two of them are special ones
_TRIAL = "A text, to try it."


@dataclass(frozen=True)
class LoadedModel:
    """An encoder with a classifier on top, in float32."""

    model: PreTrainedModel
    newly_initialised: frozenset[str]
    """Names of the parameters that the checkpoint did not hold, those of a head that was put on included."""


def load_classifier(
    address: ModelAddress,
    classes: Sequence[str],
    dropout: float,
    seed: int,
    load_kwargs: Mapping[str, Any] | None = None,
    head: str = FAMILY_HEAD,
    encoder: Encoder | None = None,
) -> LoadedModel:
    """The model with a classifier for `classes`; whatever the checkpoint lacks is drawn from `seed`.

    Float32 whatever the checkpoint holds: the optimizer's small steps vanish in half precision.

    Args:
        classes: Empty for one output that is trained by its mean squared error.
        head: Name of what classifies; `FAMILY_HEAD` leaves the family's own.
        encoder: As the head has it, unless more than the head reads is needed of the top layer.

    Raises:
        ModelError: The files are missing, damaged, or of another shape than config.json says.
    """
    check_files(address)
    outputs = classes or ("score",)
    settings = {
        "num_labels": len(outputs),
        "id2label": dict(enumerate(outputs)),
        "label2id": {name: index for index, name in enumerate(outputs)},
        "problem_type": "single_label_classification" if classes else "regression",
        **dict.fromkeys(address.encoder.architecture.dropouts, dropout),
    }
    loaded = _load(address, settings, seed, load_kwargs or {})
    if _was_drawn_elsewhere(loaded):  # by another generator; the head shall be that of every other strategy
        _copy_parameters(_load(address, settings, seed, {}), loaded)
    chosen = head_class(head)
    drawn = chosen.put_on(loaded.model, address.encoder, len(outputs), dropout, seed, loaded.newly_initialised)
    compute_first_token_only(loaded.model, encoder or chosen.describe(address.encoder))
    return LoadedModel(loaded.model, drawn)


def check_weights(address: ModelAddress) -> frozenset[str]:
    """Hold the weights' names and shapes against `config.json`; the weights themselves are not read into memory.

    Of a pickle in the format before PyTorch 1.6, whose end cannot be seen from outside, the whole file is read.

    Returns:
        Names of the parameters of the family's classification model that the checkpoint lacks.

    Raises:
        ModelError: They are missing, damaged, of another shape than config.json says, or lack a part of the encoder.
    """
    check_files(address)
    return _load(address, {}, 0, {"device_map": "meta"}).newly_initialised


def _load(address: ModelAddress, settings: Mapping[str, Any], seed: int, load_kwargs: Mapping[str, Any]) -> LoadedModel:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    encoder = address.encoder
    with _model_errors(address), _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(address.folder, trust_remote_code=False, **settings)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            address.folder,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # a classifier for another number of classes is replaced
            output_loading_info=True,
            **load_kwargs,
        )
    mismatched = {item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]}
    strange = sorted(name for name in mismatched if encoder.place(name).part != "head")
    if strange:
        raise ModelError(
            f"--model {address.name}: {strange[0]} has another shape in the weights than in config.json. "
            "Put the config.json beside the weights that it belongs to."
        )
    lacking = sorted(name for name in info["missing_keys"] if encoder.place(name).part in ("embeddings", "layer"))
    if lacking:
        raise ModelError(
            f"--model {address.name}: its weights lack {len(lacking)} parameters of the {encoder.model_type} that config.json "
            f"describes, such as {lacking[0]}. Put the config.json beside the weights that it belongs to."
        )
    return LoadedModel(model, frozenset(info["missing_keys"]) | mismatched)


def _was_drawn_elsewhere(loaded: LoadedModel) -> bool:
    """Whether what the checkpoint lacked was drawn on a GPU, as it is where `load_kwargs` names one."""
    return any(parameter.is_cuda for name, parameter in loaded.model.named_parameters() if name in loaded.newly_initialised)


def _copy_parameters(source: LoadedModel, target: LoadedModel) -> None:
    """Copy what the checkpoint lacked from one model to another, wherever that one is."""
    drawn = dict(source.model.named_parameters())
    for name, parameter in target.model.named_parameters():
        if name in target.newly_initialised:
            parameter.data.copy_(drawn[name].data)


def load_tokenizer(address: ModelAddress) -> Any:
    """The model's tokenizer.

    Raises:
        ModelError: There is none, or it cannot be read, has no padding token, or belongs to another model.
    """
    from transformers import AutoTokenizer

    check_files(address)
    with _model_errors(address), _quiet():
        tokenizer = AutoTokenizer.from_pretrained(address.folder, trust_remote_code=False)
    padding = address.config.get("pad_token_id")
    if tokenizer.pad_token_id is None and isinstance(padding, int) and padding in range(len(tokenizer)):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)  # tokenizer.json by itself does not name it
    if tokenizer.pad_token_id is None:
        raise ModelError(f"--model {address.name}: its tokenizer has no padding token, which batches of texts need.")
    _check_vocabulary(address, len(tokenizer))
    _try(address, tokenizer)
    return tokenizer


def _try(address: ModelAddress, tokenizer: Any) -> None:
    """Tokenise a text: some files are read without complaint and fail only when they are used."""
    limit = tokenizer.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= _SHORTEST_INPUT:
        raise ModelError(
            f"--model {address.name}: its tokenizer_config.json says model_max_length={shorten(repr(limit))}. Write there how "
            "many tokens its longest input has, such as 512, or leave it out."
        )
    with _model_errors(address):
        ids = tokenizer(_TRIAL, truncation=True, max_length=_SHORTEST_INPUT)["input_ids"]
        strange = [token for token in ids if not 0 <= token < address.encoder.vocabulary_size]
        if strange or not 0 < len(ids) <= _SHORTEST_INPUT:
            raise ValueError(f"its tokenizer makes {ids} of a text")


def _check_vocabulary(address: ModelAddress, tokens: int) -> None:
    """Hold the tokenizer's size against the model's: from files of another family transformers makes an empty tokenizer."""
    known = address.encoder.vocabulary_size
    if tokens > known or tokens < known / 2:
        raise ModelError(
            f"--model {address.name}: its tokenizer knows {tokens:,} tokens, but config.json says that the model has {known:,}."
            f" Put the tokenizer's own files into {address.folder}; where they are of another kind than is usual for "
            f'{address.encoder.model_type}, name it in tokenizer_config.json, such as {{"tokenizer_class": "BertTokenizer"}}.'
        )


@contextlib.contextmanager
def _model_errors(address: ModelAddress) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and json each raise their own
        if is_exhausted(error):  # memory, say; the folder is as good as ever
            raise
        if objects := refused_pickle(error):
            raise ModelError(
                f"--model {address.name}: its pickled weights in {address.folder} hold {objects}, which could run code and are "
                "not read. Save the model as model.safetensors (`save_pretrained`) where you trust it, and give that folder."
            ) from error
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"--model {address.name}: cannot be loaded from {address.folder}: {reason.rstrip('.')}. "
            "Download or copy the folder again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the report of newly initialised weights: that the classifier is new is the point here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
