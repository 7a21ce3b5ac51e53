"""Adapters of peft, merged with the model below them into a plain checkpoint in the cache folder, and loaded as any other."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.atomic_io import writing
from pipeline.errors import ConfigError, ModelError, enumerate_some, shorten
from pipeline.failures import is_exhausted
from pipeline.hashing import digest, find_damage, list_sealed, seal
from pipeline.json_text import parse_json
from pipeline.modeling.class_order import read_class_names
from pipeline.modeling.foreign_folders import (
    ADAPTER,
    LABELS,
    count_adapter_classes,
    describe_folder,
    is_adapter,
    is_prompt,
    read_exported,
)
from pipeline.modeling.loading import check_weights, quiet_transformers
from pipeline.modeling.model_sources import (
    PACKAGED,
    AdapterSource,
    ModelAddress,
    find_folder,
    find_model,
    hash_files,
    holds_tokenizer,
    read_model,
    tokenizer_files,
)
from pipeline.modeling.pooling_config import pooling_files
from pipeline.modeling.weights import open_weights

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
"""What peft puts before the names of the model below."""
_AUTO = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}


def find_pretrained(
    name: str,
    revision: str | None = None,
    base_model: str | None = None,
    cache_dir: str | None = None,
    base_revision: str | None = None,
) -> ModelAddress:
    """The model that `--model` names; an adapter is merged with the model below it.

    Args:
        base_model: What `--base-model` names; what the adapter itself names if not given.
        cache_dir: Where a merged model is kept; in a temporary folder, as long as the process lives, if not given.
        base_revision: Branch, tag or commit of that model, where it is from the hub.

    Raises:
        ConfigError: There is a `base_model` and no adapter.
        ModelError: There is no such model, or the adapter cannot be merged.
    """
    folder, commit = find_folder(name, revision)
    if is_adapter(folder):
        return _merged(name, folder, commit, base_model, base_revision, cache_dir or _scratch_folder())
    if base_model:
        raise ConfigError(f"--base-model {base_model}: --model {name} is no adapter. Leave --base-model out.")
    return read_model(name, folder, commit)


def _merged(
    name: str, folder: Path, commit: str | None, base_model: str | None, base_revision: str | None, cache_dir: str
) -> ModelAddress:
    adapter = _read_adapter(name, folder)
    base = _find_base(name, folder, adapter, base_model, base_revision)
    stats = [file.stat() for file in (*_files(folder), *sorted(base.folder.iterdir()))]
    versions = tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)
    merged, sha256 = _merge_once(name, folder, base.name, base.revision, cache_dir, versions)
    address = read_model(name, merged, commit)
    below = base.name if base.revision or base.name == PACKAGED else str(base.folder)
    source = AdapterSource(str(adapter.get("peft_type")), folder, below, base.revision, sha256)
    return ModelAddress(name, merged, commit, address.config, source)


def _read_adapter(name: str, folder: Path) -> dict[str, Any]:
    """Content of `adapter_config.json`, of an adapter that can be merged."""
    try:
        adapter = parse_json((folder / ADAPTER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"--model {name}: {folder / ADAPTER} is not JSON: {error}.") from error
    if not isinstance(adapter, dict):
        raise ModelError(f"--model {name}: {folder / ADAPTER} holds no JSON object.")
    if not any((folder / file).is_file() for file in _WEIGHTS):  # else peft would ask the hub for it
        raise ModelError(f"--model {name}: {folder} holds {ADAPTER} and no {_WEIGHTS[0]}. Copy the adapter again.")
    if is_prompt(str(adapter.get("peft_type"))):
        raise ModelError(f"--model {name}: {folder}: {describe_folder(folder)}")
    return adapter


def _find_base(
    name: str, folder: Path, adapter: Mapping[str, Any], base_model: str | None, base_revision: str | None
) -> ModelAddress:
    named = adapter.get("base_model_name_or_path")
    base, revision = base_model or named, base_revision
    if not base_model and not base_revision:
        revision = adapter.get("revision")
    try:
        if not isinstance(base, str) or not base:
            raise ModelError(f"{ADAPTER} does not name the model below it.")
        if not isinstance(revision, str | None):
            raise ModelError(f"{ADAPTER} names a revision of it that is no text.")
        at = find_folder(base, revision)[0]
        if is_adapter(at):
            raise ModelError(f"{at} is an adapter itself.")
        return find_model(base, revision)
    except ModelError as error:
        reason = " ".join(error.messages).removeprefix(f"--model {base}: ")
        if base_model:
            raise ModelError(f"--base-model {base}: {reason}") from error
        where = f"its base, {shorten(str(base))}: {shorten(reason.partition('. ')[0], 300).rstrip('.')}." if base else reason
        raise ModelError(
            f"--model {name}: {where} Give the model below it as --base-model. {describe_folder(folder)}"
        ) from error


def _files(folder: Path) -> list[Path]:
    """What an adapter's folder puts into the merged model."""
    names = (ADAPTER, *_WEIGHTS, "config.json", *([LABELS] if read_exported(folder) else []))
    return [*(folder / name for name in names if (folder / name).is_file()), *tokenizer_files(folder), *pooling_files(folder)]


@functools.lru_cache(maxsize=64)
def _merge_once(
    name: str, folder: Path, base_name: str, base_revision: str | None, cache_dir: str, _versions: tuple[tuple[int, ...], ...]
) -> tuple[Path, str]:
    """The merged folder, made or found, and the SHA-256 of what it is made of.

    Args:
        _versions: Of the files, so that what was found is not forgotten: a plan asks for the model of each training.
    """
    base = find_model(base_name, base_revision)
    sha256 = digest([base.sha256(), hash_files(_files(folder))])
    key = digest([sha256, *map(version, ("peft", "torch", "transformers"))])
    merged = Path(cache_dir).absolute() / "merged_adapters" / key[:32]
    if not _is_whole(merged):
        with writing(merged, cache_dir) as scratch:
            if not _is_whole(merged):
                check_weights(base)
                _write_merged(name, folder, _read_adapter(name, folder), base, scratch)
                seal(scratch)
    return merged, sha256


def _is_whole(merged: Path) -> bool:
    names = list_sealed(merged)
    return bool(names) and find_damage(merged, names) is None


def _write_merged(name: str, folder: Path, adapter: Mapping[str, Any], base: ModelAddress, scratch: Path) -> None:
    """Merge, and save what the base or the adapter holds: what peft left as it was drawn for training is lost."""
    try:
        with quiet_transformers(), warnings.catch_warnings(action="ignore"):
            model, lacking = _load_base(name, folder, adapter, base)
            wrapped, supplied = _put_on(name, folder, base, model)
            merged = wrapped.merge_and_unload(safe_merge=True)
            state = {key: tensor for key, tensor in merged.state_dict().items() if key not in lacking - supplied}
            merged.save_pretrained(scratch, state_dict=state)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # peft and transformers each raise their own
        if is_exhausted(error):
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ModelError(
            f"--model {name}: cannot be merged into {base.name}: {reason}. Give the model that it was trained on as "
            "--base-model."
        ) from error
    tokenizer = folder if holds_tokenizer(folder) else base.folder
    vectors = folder if pooling_files(folder) else base.folder
    for file in tokenizer_files(tokenizer):
        shutil.copy(file, scratch)
    for file in pooling_files(vectors):
        target = scratch / file.relative_to(vectors)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)


def _load_base(name: str, folder: Path, adapter: Mapping[str, Any], base: ModelAddress) -> tuple[Any, set[str]]:
    """The model that the adapter was put on, in float32, and the names of its parameters that the base's weights lack."""
    import torch
    from transformers import AutoConfig

    prefix = base.encoder.family.base_prefix
    with open_weights(base.name, base.folder, prefix) as tensors, torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(base.folder, trust_remote_code=False, **_labels(folder))
        model, info = _model_class(name, adapter, config).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    mismatched = {item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]}
    return model, set(info["missing_keys"]) | mismatched


def _labels(folder: Path) -> dict[str, Any]:
    """The classes of a classifier that was saved with the adapter, by a file beside it where one names them."""
    classes = count_adapter_classes(folder)
    if classes is None:
        return {}
    names = _class_names(folder, classes)
    if not names:
        return {"num_labels": classes}
    return {"id2label": dict(enumerate(names)), "label2id": {label: index for index, label in enumerate(names)}}


def _class_names(folder: Path, classes: int) -> list[str]:
    """Those of the classifier's outputs, in their order: not those of the base, which may have another.

    By `labels.json` of a folder that `export` wrote, else by `config.json`; none where neither names each of them.
    """
    exported = read_exported(folder)
    if exported and len(set(exported.labels)) == len(exported.labels) == classes:
        return list(exported.labels)
    own = folder / "config.json"
    try:
        content = parse_json(own.read_text(encoding="utf-8")) if own.is_file() else {}
    except ValueError:  # what it says of classes is a help only
        content = {}
    return read_class_names(content, classes) if isinstance(content, dict) else []


def _model_class(name: str, adapter: Mapping[str, Any], config: Any) -> Any:
    """The class of transformers by the adapter's task, or by the class that it names."""
    import transformers

    task, mapping = adapter.get("task_type"), adapter.get("auto_mapping")
    if task in _AUTO:
        return getattr(transformers, _AUTO[task])._model_mapping[type(config)]
    if task:
        raise ModelError(f"--model {name}: is an adapter for {task}, and no encoder's. Give one for {', '.join(_AUTO)}.")
    named = getattr(transformers, str(mapping.get("base_model_class")), None) if isinstance(mapping, dict) else None
    is_own = getattr(named, "config_class", None) is type(config)
    return named if is_own else transformers.AutoModel._model_mapping[type(config)]


def _put_on(name: str, folder: Path, base: ModelAddress, model: Any) -> tuple[Any, set[str]]:
    """The model in peft's wrapper, and the names of the parameters that the adapter holds whole.

    Raises:
        ModelError: It holds tensors that have no place there, or lacks some: peft would not say so.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    plain = {name for name, _ in model.named_parameters()}
    tensors = load_peft_weights(str(folder), device="cpu")
    wrapped = PeftModel.from_pretrained(model, str(folder), torch_device="cpu")
    supplied = {key.removeprefix(_PREFIX) for key in tensors}
    wanted = {key.removeprefix(_PREFIX) for key in get_peft_model_state_dict(wrapped, save_embedding_layers=False)}
    for names, what in ((supplied - wanted - plain, "has no place in it"), (wanted - supplied, "is missing from it")):
        if names:
            raise ModelError(
                f"--model {name}: is no adapter of {base.name}: {enumerate_some(sorted(names), 2)} {what}. Give the model that "
                "it was trained on as --base-model."
            )
    return wrapped, supplied & plain


@functools.cache
def _scratch_folder() -> str:
    """Where a model is merged that is loaded to predict, by who has no cache folder."""
    folder = tempfile.mkdtemp(prefix="fairtune-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
