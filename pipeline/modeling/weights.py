"""Files of weights: which of a folder's are read, whether they are whole, and the tensors in them by name."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, enumerate_some, shorten
from pipeline.given_paths import is_file
from pipeline.json_text import parse_json

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""The first that is there is read, as transformers does it."""

# What DataParallel, torch.compile, FSDP and checkpointing of activations put into names. No encoder has parts called so.
_WRAPPER = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_MODEL = "model."
_UNMERGED = (".lora_", ".base_layer.", ".modules_to_save.")


def has_weights(folder: Path) -> bool:
    """Whether there is a file that weights are read from."""
    return any((folder / file).is_file() for file in WEIGHTS)


def find_damages(name: str, folder: Path) -> list[str]:
    """What is wrong with the weight files that would be read; looks at their beginnings and ends only.

    Args:
        name: What the user called the model; stands in messages.
    """
    begin = f"--model {name}:"
    if not has_weights(folder):
        return [f"{begin} no weights in {folder}. Needed: one of {', '.join(WEIGHTS)}."]
    try:
        files = _list_files(folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{begin} {_first(folder)} is not an index of weight files: {error!r}."]
    damages = {file: _damage(file) for file in files}
    return [f"{begin} {shorten(str(file), 300)} {damage}" for file, damage in damages.items() if damage]


@contextlib.contextmanager
def open_weights(name: str, folder: Path, base_prefix: str, values: bool = True) -> Iterator[dict[str, Any]]:
    """The tensors of a folder, readable within the block, by their names without what wrappers put into them.

    Those of safetensors are slices that are read when they are indexed; where no values are asked for, all are empty ones on
    the device `meta`.

    Args:
        name: What the user called the model; stands in messages.
        base_prefix: Where the encoder stands in the family's classification model, such as `bert`.

    Raises:
        ModelError: A file holds something else than tensors by name, or two tensors of one name.
    """
    from safetensors import safe_open
    from transformers.modeling_utils import load_state_dict

    tensors: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for file in _list_files(folder):
            if values and file.suffix == ".safetensors":
                opened = stack.enter_context(safe_open(file, "pt"))
                shard = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118  # it is no mapping
            else:
                shard = load_state_dict(file, map_location="cpu" if values else "meta")
                _check_content(name, file, shard)
            tensors |= shard
        plain = unwrap_names(name, tensors, base_prefix)
        yield {plain[key]: tensor for key, tensor in tensors.items()}


def unwrap_names(name: str, names: Collection[str], base_prefix: str) -> dict[str, str]:
    """Each tensor's name, and the one that it has in the model that was wrapped.

    Raises:
        ModelError: Two tensors have the same name then, or an adapter stands in the weights.
    """
    plain = {key: _WRAPPER.sub("", key) for key in names}
    # ModernBERT's own encoder is called `model`; there it is a wrapper's name only if it stands twice or before everything.
    while any(key.startswith(_MODEL) for key in plain.values()) and (
        f"{base_prefix}." != _MODEL
        or all(key.startswith(_MODEL) for key in plain.values())
        or any(key.startswith(_MODEL * 2) for key in plain.values())
    ):
        plain = {key: value.removeprefix(_MODEL) for key, value in plain.items()}
    if unmerged := sorted(key for key in names if any(part in key for part in _UNMERGED)):
        raise ModelError(
            f"--model {name}: its weights are those of a model with an adapter that was not merged, such as {unmerged[0]}. "
            "Merge it with peft's merge_and_unload(), and give the folder that save_pretrained writes then."
        )
    by_plain: dict[str, str] = {}
    for key, value in plain.items():
        if value in by_plain:
            raise ModelError(f"--model {name}: its weights hold {value} twice, as {by_plain[value]} and as {key}. Remove one.")
        by_plain[value] = key
    return plain


def _check_content(name: str, file: Path, content: object) -> None:
    """A training's own checkpoint holds the weights under one of several entries."""
    import torch

    if isinstance(content, Mapping) and content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return
    entries = [str(entry) for entry in content] if isinstance(content, Mapping) else []
    nested = [str(entry) for entry, value in content.items() if isinstance(value, Mapping)] if entries else []  # type: ignore[attr-defined]
    what = f"the entries {enumerate_some(entries, 6)}" if entries else f"an object of type {type(content).__name__}"
    weights = next((entry for entry in nested if "model" in entry or "state" in entry), nested[0] if nested else None)
    way = f'torch.load(...)["{weights}"]' if weights else "model.state_dict()"
    raise ModelError(
        f"--model {name}: {file} holds {what} where tensors by name are expected. Save {way} as {file.name}, with torch.save."
    )


def _first(folder: Path) -> Path:
    return next(folder / file for file in WEIGHTS if (folder / file).is_file())


def _list_files(folder: Path) -> list[Path]:
    """The files that weights are read from; of shards those that the index names."""
    first = _first(folder)
    if first.suffix != ".json":
        return [first]
    names = sorted(set(parse_json(first.read_text("utf-8"))["weight_map"].values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{outside[0]} does not lie beside it")
    return [folder / name for name in names]


def _damage(file: Path) -> str | None:
    """What is wrong with one weight file; None if it is whole as far as can be seen without reading it through."""
    from safetensors import SafetensorError, safe_open

    if not is_file(file):
        return "is missing, though the index of weight files names it."
    with file.open("rb") as opened:
        start = opened.read(40)
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights. Run `git lfs pull` in the folder it was cloned to."
    again = "Download or copy it again."
    if not start:
        return f"is empty. {again}"
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "numpy"):  # holds the length of the file against its header
                return None
        except (SafetensorError, OSError) as error:
            return f"is damaged: {error}. {again}"
    # Older checkpoints are bare pickles, whose end cannot be seen from outside.
    return f"is damaged: it breaks off. {again}" if start.startswith(b"PK") and not _ends_as_zip(file) else None


def _ends_as_zip(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # what says that it goes on in another file
        return False
