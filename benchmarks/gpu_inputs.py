"""What the GPU benchmark trains on, made on the spot: encoders of a known shape with random weights, texts as long as SST-2's.

What a step costs depends on shapes alone: on the encoder's sizes, on how many tokens the texts have, on how many tokens occur.
"""

from __future__ import annotations

import gc
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import TrainConfig
from pipeline.strategies.base import create_strategy
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.setup import find_inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES: dict[str, dict[str, int]] = {
    "bert-base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "minilm": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
}
TINY: dict[str, dict[str, int]] = {
    "bert-base": {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128},
    "minilm": {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64},
}
"""The same names with sizes for a trial on a CPU."""

RATES = {"full": 5e-5, "partial": 2e-4, "lora": 1e-3, "head_only": 3e-2}
ARGUMENTS: dict[str, dict[str, Any]] = {"partial": {"top_k": 2}}
STRATEGIES = tuple(RATES)
EPOCHS = {"gradual": 5}
"""Where one is too few: the head and the top layers come first, two epochs each."""

VOCABULARY = 30_522
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_COMMON = 12_000
"""Words that make up texts of three and more: SST-2 has 11,573 different tokens."""
_MARKED = 50
"""Words a class that begin its texts, so that there is something to learn."""

LENGTHS = {
    3: 1978, 4: 5323, 5: 6064, 6: 5345, 7: 4749, 8: 4155, 9: 3713, 10: 3267, 11: 2947, 12: 2650, 13: 2413, 14: 2138, 15:
    1950, 16: 1777, 17: 1661, 18: 1515, 19: 1373, 20: 1285, 21: 1132, 22: 1106, 23: 1046, 24: 909, 25: 820, 26: 806, 27:
    733, 28: 692, 29: 628, 30: 538, 31: 491, 32: 442, 33: 448, 34: 400, 35: 337, 36: 304, 37: 286, 38: 242, 39: 195, 40:
    203, 41: 192, 42: 155, 43: 148, 44: 130, 45: 89, 46: 82, 47: 85, 48: 73, 49: 55, 50: 42, 51: 50, 52: 40, 53: 36, 54:
    19, 55: 21, 56: 22, 57: 15, 58: 8, 59: 6, 60: 3, 61: 2, 62: 5, 63: 5, 64: 1, 65: 2, 66: 2,
}  # fmt: skip
"""Tokens, special ones included -> how many of the 67,349 phrases of SST-2's train part have so many, cut as BERT's uncased
vocabulary cuts them."""


def draw_lengths(count: int, seed: int) -> NDArray[np.int64]:
    """Lengths in tokens, distributed as SST-2's; shape [count]."""
    lengths, weights = np.array(list(LENGTHS)), np.array(list(LENGTHS.values()), float)
    return np.random.default_rng(seed).choice(lengths, count, p=weights / weights.sum()).astype(np.int64)


def write_texts(path: Path, count: int, seed: int) -> Path:
    """A CSV file of so many labelled texts of made-up words, each word a token."""
    generator = random.Random(seed)
    lines = ["text,label"]
    for length in draw_lengths(count, seed):
        label = generator.randrange(2)
        pool = _COMMON if length > 4 else VOCABULARY - len(_SPECIAL)  # short texts would repeat one another
        words = [
            f"w{int(pool ** generator.random()) - 1 if length > 4 else generator.randrange(pool)}" for _ in range(length - 2)
        ]
        if len(words) > 1:
            words[0] = f"w{label * _MARKED + generator.randrange(_MARKED)}"
        lines.append(f"{' '.join(words)},{'negative' if label == 0 else 'positive'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_encoder(folder: Path, sizes: dict[str, int]) -> Path:
    """A BERT with random weights and a tokenizer of made-up words, as `save_pretrained` writes them.

    The weights are wider than BERT's own before training, so that the losses of the first steps are not all the same.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder.mkdir(parents=True)
    words = [*_SPECIAL, *(f"w{number}" for number in range(VOCABULARY - len(_SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=VOCABULARY, initializer_range=0.05, **sizes)).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Cell:
    """One setting that all systems are measured in."""

    shape: str
    strategy: str
    batch_size: int

    @property
    def name(self) -> str:
        """Such as `bert-base full 32`."""
        return f"{self.shape} {self.strategy} {self.batch_size}"


class Workshop:
    """A folder with texts and encoders, made when they are first asked for; removed at the end."""

    def __init__(self, folder: Path, tiny: bool) -> None:
        """Nothing is made yet."""
        self.folder, self.tiny = folder, tiny
        self._found: dict[str, TrainingInputs] = {}

    @property
    def rows(self) -> int:
        """Training texts that there are."""
        return 512 if self.tiny else 16_384

    @property
    def warm_up(self) -> int:
        """Steps that are not timed."""
        return 2 if self.tiny else 8

    def warm_up_of_ours(self, cell: Cell, captures: bool) -> int:
        """Steps in which our loop meets every length, several times if it captures: it sorts 50 batches at a time by length."""
        if self.tiny:
            return 4
        return (210 if cell.batch_size == 32 else 110) if captures else 60

    def make(self) -> None:
        """Write texts and encoders."""
        for number, (part, count) in enumerate({"train": self.rows, "validation": 256, "test": 64}.items()):
            write_texts(self.folder / f"{part}.csv", count, number)
        for shape, sizes in (TINY if self.tiny else SHAPES).items():
            write_encoder(self.folder / shape, sizes)

    def config(self, cell: Cell, steps: int, **options: Any) -> TrainConfig:
        """One epoch (or what the strategy needs) of so many steps, or of all texts where there are fewer."""
        settings: dict[str, Any] = {
            "model": str(self.folder / cell.shape),
            "train_file": str(self.folder / "train.csv"),
            "validation_file": str(self.folder / "validation.csv"),
            "test_file": str(self.folder / "test.csv"),
            "cache_dir": str(self.folder / "cache"),
            "strategy": cell.strategy,
            "strategy_args": ARGUMENTS.get(cell.strategy, {}),
            "learning_rate": RATES.get(cell.strategy, 1e-3),
            "batch_size": cell.batch_size // 16 if self.tiny else cell.batch_size,
            "epochs": EPOCHS.get(cell.strategy, 1),
            "max_train_samples": min(steps * cell.batch_size // (16 if self.tiny else 1), self.rows),
            "max_eval_samples": 64,
        }
        return TrainConfig(**settings | options)

    def inputs(self, config: TrainConfig) -> TrainingInputs:
        """As `train` finds them; a model's files are read and hashed once."""
        if config.model not in self._found:
            self._found[config.model] = find_inputs(config)
        found = self._found[config.model]
        return replace(found, config=config, strategy=create_strategy(config.strategy, config.strategy_args))

    @cached_property
    def has_cuda(self) -> bool:
        """Whether there is a GPU."""
        import torch

        return torch.cuda.is_available()


def scratch_folder() -> Path:
    """A new folder, in memory where there is room, so that disks do not count."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 24 * 2**30
    return Path(tempfile.mkdtemp(prefix="gpu-benchmark-", dir=shared if roomy else None))


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget() -> float:
    """Give back what earlier measurements hold, and start new peaks; the MiB of the GPU that something still holds."""
    import torch

    gc.collect()
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**20


def memory() -> dict[str, float]:
    """Peaks of the GPU's memory since `forget`, in MiB; of a CPU none."""
    import torch

    if not torch.cuda.is_available():
        return {}
    return {
        "allocated_mb": torch.cuda.max_memory_allocated() / 2**20,
        "reserved_mb": torch.cuda.max_memory_reserved() / 2**20,
    }


def seconds_of(run: Any, repeats: int, warm_up: int = 3, at_most: float = 3.0) -> float:
    """Seconds a call, with the GPU's work: the mean over so many calls, or as many as fit into `at_most` seconds."""
    for _ in range(warm_up):
        run()
    synchronize()
    begin, done = time.perf_counter(), 0
    while done < repeats:
        run()
        done += 1
        if time.perf_counter() - begin > at_most:
            break
    synchronize()
    return (time.perf_counter() - begin) / done
