"""Load an encoder with a classifier, and its tokenizer. Weights only: no code of a model is ever run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError, PluginError, refused_pickle, shorten
from pipeline.failures import is_exhausted
from pipeline.known import once
from pipeline.modeling.class_order import NEW, Outputs, check_model_labels, order_outputs
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.foreign_folders import ADAPTER, describe_adapter_beside
from pipeline.modeling.head import head_class
from pipeline.modeling.model_sources import ModelAddress, check_files
from pipeline.modeling.restored_tokenizer import restore_tokenizer
from pipeline.modeling.weight_match import WeightMatch, match_weights
from pipeline.modeling.weights import open_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHORTEST_INPUT = 4  # tokens; two of them are special ones
_TRIAL = "A text, to try it."
_OTHER_HEADS = ("TokenClassification", "MultipleChoice")
"""Tasks whose heads have the names, and may have the shapes, of a text classifier's."""


@dataclass(frozen=True)
class LoadedModel:
    """An encoder with a classifier on top, in float32."""

    model: PreTrainedModel
    newly_initialised: frozenset[str]
    """Names of the parameters that the checkpoint did not hold, those of a head that was put on included."""


@dataclass(frozen=True)
class WeightsReport:
    """What a checkpoint's weights hold, of which no value was read."""

    lacking: frozenset[str]
    """Names of the parameters of the family's classification model that the checkpoint lacks."""
    outputs: int | None
    """How many its trained classifier has; None where it has none."""
    note: str
    """What of the weights has no use, as a sentence; empty where all have."""
    names: tuple[str, ...] = ()
    """Of all parameters of the family's classification model."""


def load_classifier(
    address: ModelAddress,
    classes: Sequence[str],
    dropout: float,
    seed: int,
    load_kwargs: Mapping[str, Any] | None = None,
    head: str = FAMILY_HEAD,
    model_labels: Sequence[str] = (),
) -> LoadedModel:
    """The model with a classifier for `classes`; whatever the checkpoint lacks is drawn from `seed`.

    Float32 whatever the checkpoint holds: the optimizer's small steps vanish in half precision.

    Args:
        classes: Empty for one output that is trained by its mean squared error.
        head: Name of what classifies; `FAMILY_HEAD` leaves the family's own.
        model_labels: The classes in the order of the outputs of the checkpoint's own classifier; matched by name if empty.

    Raises:
        ConfigError: The checkpoint has no outputs that the labels could name.
        ModelError: The files are missing, damaged, or of another shape than config.json says.
    """
    names = classes or ("score",)
    settings = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification" if classes else "regression",
        **dict.fromkeys(address.encoder.family.dropouts, dropout),
    }
    rows = _find_rows(address, classes, model_labels) if head == FAMILY_HEAD else None
    loaded = _load(address, settings, seed, load_kwargs or {}, rows)
    if _was_drawn_elsewhere(loaded):  # by another generator; the head shall be that of every other strategy
        _copy_parameters(_load(address, settings, seed, {}, rows), loaded)
    drawn = head_class(head).put_on(loaded.model, address.encoder, len(names), dropout, seed, loaded.newly_initialised)
    return LoadedModel(loaded.model, drawn)


def _find_rows(address: ModelAddress, classes: Sequence[str], model_labels: Sequence[str]) -> tuple[int, ...] | None:
    """Which outputs of the checkpoint's classifier are taken; None where it has none, which is seen by names alone."""
    check_files(address)
    _refuse_adapter(address)
    prefix, logits = address.encoder.family.base_prefix, address.encoder.family.logits
    with _model_errors(address), open_weights(address.name, address.folder, prefix, values=False) as tensors:
        has_outputs = f"{logits}.weight" in tensors
    outputs = check_weights(address).outputs if has_outputs else None
    return find_outputs(address, outputs, classes, model_labels).rows


def check_weights(address: ModelAddress) -> WeightsReport:
    """Hold the weights' names and shapes against `config.json`; the weights themselves are not read into memory.

    Of a pickle in the format before PyTorch 1.6, whose end cannot be seen from outside, the whole file is read.

    Raises:
        ModelError: They are missing, damaged, of another shape than config.json says, lack a part of the encoder, or hold
            parts of another one.
    """
    check_files(address)
    return once(("weights", address.name, address.folder, address.sha256()), lambda: _check_weights(address))


def _check_weights(address: ModelAddress) -> WeightsReport:
    encoder = address.encoder
    _refuse_adapter(address)
    model, match, shapes = _put_in(address, {}, 0, {"device_map": "meta"})
    names = tuple(name for name, _ in model.named_parameters())
    heads = {name for name in names if encoder.locate(name).part == "head"}
    logits = encoder.family.logits
    below = {name for name in heads if not name.startswith(f"{logits}.")}
    shape = shapes.get(f"{logits}.weight", [])
    outputs = shape[0] if len(shape) == 2 and not match.lacking & below and _classifies_texts(address) else None
    return WeightsReport(match.lacking, outputs, match.note(address.name), names)


def _refuse_adapter(address: ModelAddress) -> None:
    """Refuse weights that may have the adapter in them that lies beside: from_pretrained would put it on top, again or not."""
    if (address.folder / ADAPTER).is_file():
        with _model_errors(address), open_weights(address.name, address.folder, "", values=False) as tensors:
            names = {name.partition(".")[0] for name in tensors}
        heads = {head.partition(".")[0] for head in address.encoder.head_modules}
        raise ModelError(f"--model {address.name}: {describe_adapter_beside(address.folder, bool(names & heads))}")


def find_outputs(
    address: ModelAddress, outputs: int | None, classes: Sequence[str], model_labels: Sequence[str] = ()
) -> Outputs:
    """Which outputs of the checkpoint's classifier stand for which classes of the data.

    Args:
        outputs: How many it has; None where it has none.
        classes: Empty for one output that is trained by its mean squared error.

    Raises:
        ConfigError: `--model-labels` names other classes, or outputs that are not there.
    """
    if not classes:
        check_model_labels(model_labels, classes)
        return Outputs((0,)) if outputs == 1 else NEW
    return order_outputs(address.name, address.config, outputs, classes, model_labels)


def _classifies_texts(address: ModelAddress) -> bool:
    """Whether `config.json` does not say that the head is for another task."""
    return not any(task in str(address.config.get("architectures")) for task in _OTHER_HEADS)


def _load(
    address: ModelAddress, settings: Mapping[str, Any], seed: int, load_kwargs: Mapping[str, Any], rows: Sequence[int] | None
) -> LoadedModel:
    model, match, _ = _put_in(address, settings, seed, load_kwargs, rows)
    return LoadedModel(model, match.lacking)


def _put_in(
    address: ModelAddress,
    settings: Mapping[str, Any],
    seed: int,
    load_kwargs: Mapping[str, Any],
    rows: Sequence[int] | None = (),
) -> tuple[PreTrainedModel, WeightMatch, dict[str, list[int]]]:
    """Put a checkpoint's tensors into the family's classification model.

    They are read here and handed over: from a folder, transformers would put an adapter that lies in it on top, and tell of
    the adapter's tensors alone.

    Args:
        settings: Instead of what `config.json` says.
        rows: Outputs of the checkpoint's classifier in the order in which they are taken; all as they are if empty, none at
            all if None.

    Returns:
        The model, what was found, and the shapes of the checkpoint's tensors.
    """
    import torch
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig

    logits = address.encoder.family.logits
    values = load_kwargs.get("device_map") != "meta"
    with _model_errors(address), quiet_transformers(), torch.random.fork_rng(devices=[]):
        own = dict(address.encoder.family.settings)
        if address.config.get("gradient_checkpointing"):  # as older folders say it; here an option decides
            own["gradient_checkpointing"] = False
        config = AutoConfig.from_pretrained(address.folder, trust_remote_code=False, **own, **settings)
        family = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
        with open_weights(address.name, address.folder, family.base_model_prefix, values) as tensors:
            shapes = {name: list(_shape(tensor)) for name, tensor in tensors.items()}
            for name in [name for name in (f"{logits}.weight", f"{logits}.bias") if name in tensors]:
                if rows is None:
                    del tensors[name]
                elif rows:
                    tensors[name] = tensors[name][:][list(rows)]
            torch.manual_seed(seed)
            model, info = family.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # told apart in `match_weights`
                output_loading_info=True,
                **load_kwargs,
            )
        _check_names(address, model)
        address.encoder.family.repair(model)
        model.name_or_path = model.config.name_or_path = str(address.folder)
    return model, match_weights(address, model, tensors, info), shapes


def _check_names(address: ModelAddress, model: PreTrainedModel) -> None:
    """Hold the names that the family declares against transformers' model.

    Raises:
        PluginError: It has no module of such a name.
    """
    encoder, family = address.encoder, type(address.encoder.family)
    file, theirs = family.__module__, type(model).__name__
    if family.base_prefix != model.base_model_prefix:
        raise PluginError(
            f"{file}: {family.__name__}.base_prefix is {family.base_prefix!r}, and {theirs} of transformers has its encoder in "
            f"{model.base_model_prefix!r}."
        )
    modules = {name for name, _ in model.named_modules()}
    declared: dict[str, Sequence[str | None]] = {
        "layers": [encoder.layers],
        "pooler": [encoder.pooler],
        "final_norm": [encoder.final_norm],
        "head": family.head,
        "logits": [family.logits],
    }
    for field, names in declared.items():
        if missing := [name for name in names if name and name not in modules]:
            raise PluginError(
                f"{file}: {family.__name__}.{field} names {', '.join(missing)}, and {theirs} of transformers "
                "has no such module."
            )


def _shape(tensor: Any) -> Sequence[int]:
    shape: Sequence[int] = tensor.get_shape() if hasattr(tensor, "get_shape") else tensor.shape
    return shape


def _was_drawn_elsewhere(loaded: LoadedModel) -> bool:
    """Whether what the checkpoint lacked was drawn on a GPU, as it is where `load_kwargs` names one."""
    return any(parameter.is_cuda for name, parameter in loaded.model.named_parameters() if name in loaded.newly_initialised)


def _copy_parameters(source: LoadedModel, target: LoadedModel) -> None:
    """Copy what the checkpoint lacked from one model to another, wherever that one is."""
    drawn = dict(source.model.named_parameters())
    for name, parameter in target.model.named_parameters():
        if name in target.newly_initialised:
            parameter.data.copy_(drawn[name].data)


@lru_cache(maxsize=1)
def load_tokenizer(address: ModelAddress) -> Any:
    """The model's tokenizer.

    Raises:
        ModelError: There is none, or it cannot be read, has no padding token, or belongs to another model.
    """
    from transformers import AutoTokenizer

    check_files(address)
    with _model_errors(address), quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(address.folder, trust_remote_code=False)
        restore_tokenizer(tokenizer, address.folder)
    # Whatever it asks for: --long-texts says what is read of a long text, and batches are padded at the end.
    tokenizer.truncation_side = tokenizer.padding_side = "right"
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
    except (ModelError, PluginError):
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
def quiet_transformers() -> Iterator[None]:
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
