"""Tiny encoders with random weights, and small data, for tests of every level. Nothing here needs a network or a GPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import quiet_environment
from tiny_encoders import BAD, DEPTH, FAMILIES, GOOD, LETTERS, PLAIN, VOCABULARY, write_like_its_defaults
from tiny_reviews import write_reviews

from pipeline.config import FitConfig
from pipeline.modeling.family import list_model_types
from pipeline.modeling.model_sources import find_model

if TYPE_CHECKING:
    from pipeline.data.pair_tokenization import TextPairs
    from pipeline.data.tokenization import TokenTable
    from pipeline.objectives.base import Objective
    from pipeline.strategies.base import Strategy, StrategyContext
    from pipeline.training.plan import FitPlan, FitResult
    from pipeline.training.saved_model import BuiltModel

quiet_environment.enter()


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those that need one: `pytest -m gpu`."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse an id that holds an address in memory: two workers then collect different tests, and no test runs."""
    if strange := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give these tests ids of their own: {strange}")


@pytest.fixture(autouse=True)
def own_variables() -> Iterator[None]:
    """What a command hands to its processes in variables of ours, called in this process, ends with the test."""
    before = _own_variables()
    yield
    for name in _own_variables().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _own_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("FAIRTUNE_")}


@dataclass
class Watcher:
    """An `Callback` that keeps what it is told; each hook may be replaced."""

    logs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    after_step: Callable[[int], None] = lambda step: None
    stops_at: int | None = None
    steps: list[int] = field(default_factory=list)
    prefix: list[tuple[int, int]] = field(default_factory=list)

    def on_step(self, step: int, total_steps: int) -> None:
        self.steps.append(step)
        self.after_step(step)

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.logs.append((step, dict(metrics)))

    def check(self) -> None:
        pass

    def on_cache_progress(self, examples: int, total: int) -> None:
        self.prefix.append((examples, total))

    def should_stop(self) -> bool:
        return bool(self.steps) and self.steps[-1] == self.stops_at


class Tiny:
    """Makes tiny models and data, and trains with them."""

    families = tuple(list_model_types())
    depth = DEPTH
    classes = ("bad", "good")
    words = (GOOD, BAD)

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, family: str = "bert", pooler: bool = True) -> Path:
        """A checkpoint without a classifier, made when it is first asked for."""
        folder = self.root / (family if pooler else f"{family}-without-pooler")
        if not folder.exists():
            FAMILIES.get(family, partial(write_like_its_defaults, family=family))(folder, pooler)
        return folder

    @staticmethod
    def write_sentencepiece(folder: Path, family: str) -> Path:
        """Write a SentencePiece model of the family's kind into a model folder, as its only tokenizer."""
        from sentencepiece import SentencePieceTrainer

        name, symbols = {
            "albert": (
                "spiece.model",
                {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]"},
            ),
            "deberta-v2": (
                "spm.model",
                {f"{name}_id": rank for rank, name in enumerate(("pad", "bos", "eos", "unk"))}
                | {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
            ),
            "xlm-roberta": ("sentencepiece.bpe.model", {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}),
        }[family]
        path = folder / name
        with path.open("wb") as file:
            SentencePieceTrainer.train(
                sentence_iterator=iter(
                    [f"{word} {first}{second}" for word in VOCABULARY for first in LETTERS[:9] for second in PLAIN]
                ),
                model_writer=file,
                vocab_size=len(VOCABULARY) - 10,
                hard_vocab_limit=False,
                num_threads=1,
                minloglevel=2,
                **symbols,
            )
        return path

    def csv(self, rows: int = 200, seed: int = 0) -> Path:
        """A file of reviews, made when it is first asked for."""
        path = self.root / f"reviews-{rows}-{seed}.csv"
        if not path.exists():
            write_reviews(path, rows, seed)
        return path

    @staticmethod
    def table(rows: int, seed: int = 0) -> TokenTable:
        """Random token ids between [CLS] and [SEP]; the label is whether a telling token of one kind is among them."""
        from pipeline.data.tokenization import TokenTable

        generator = np.random.default_rng(seed)
        labels = np.arange(rows) % 2
        pieces = [
            np.array([2, *generator.integers(20, 150, generator.integers(3, 12)), 160 + label, 3], np.int32) for label in labels
        ]
        offsets = np.cumsum([0, *map(len, pieces)])
        return TokenTable(np.concatenate(pieces), offsets.astype(np.int64), labels.astype(np.int64))

    def pieces(self, rows: int, seed: int = 0) -> TokenTable:
        """Such rows as pieces of texts: three of the first text, one of the second, two of the third, and so on."""
        table = self.table(rows, seed)
        text_index = np.repeat(np.arange(rows), np.resize([3, 1, 2], rows))[:rows]
        labels = np.arange(text_index[-1] + 1) % 2
        return replace(table, labels=labels.astype(np.int64), text_index=text_index)

    def pairs(self, rows: int, seed: int = 0) -> TextPairs:
        """Pairs of such texts; the label is whether both have a telling token of the same kind."""
        from pipeline.data.pair_tokenization import TextPairs

        texts = self.table(2 * rows, seed)
        order = np.random.default_rng(seed).permutation(2 * rows)
        kinds = texts.labels[order].reshape(-1, 2)
        return TextPairs(texts.subset(order), (kinds[:, 0] == kinds[:, 1]).astype(np.float32))

    @staticmethod
    def config(**options: Any) -> FitConfig:
        """Settings under which one step visibly moves everything that trains."""
        base = {
            "learning_rate": 1e-2,
            "batch_size": 8,
            "epochs": 1,
            "warmup_ratio": 0.0,
            "precision": "fp32",
            "logging_steps": 1,
        }
        return FitConfig(**{**base, **options})

    @staticmethod
    def context(folder: Path, config: FitConfig, total_steps: int = 1, objective: Objective | None = None) -> StrategyContext:
        from pipeline.modeling.head import with_head
        from pipeline.strategies.base import StrategyContext

        address = find_model(str(folder))
        if objective is None:
            return StrategyContext(with_head(address.encoder, config.head), config.epochs, total_steps, config.dropout)
        encoder, task = objective.encoder(address), objective.peft_task
        return StrategyContext(encoder, config.epochs, total_steps, config.dropout, peft_task=task)

    def objective(self, name: str = "classification", pooling: str = "mean", head: str = "pooler", **problem: Any) -> Objective:
        """An objective for two classes of single texts, or for another problem."""
        from pipeline.data.columns import Problem
        from pipeline.objectives.base import create_objective

        return create_objective(name, Problem(**{"classes": self.classes, **problem}), pooling, head)

    def build(
        self,
        strategy: Strategy,
        folder: Path,
        config: FitConfig,
        total_steps: int = 1,
        objective: Objective | None = None,
    ) -> BuiltModel:
        """The tiny model with a strategy put into it, seeded as the train stage does."""
        from pipeline.training.beginning import begin
        from pipeline.training.saved_model import build_model
        from pipeline.training.seeding import Seeds

        seeds = Seeds.of(config)
        address = find_model(str(folder))
        objective = objective or self.objective(head=config.head)
        context = self.context(folder, config, total_steps, objective)
        built = build_model(address, strategy, context, objective, seeds.head, seeds.adapters)
        begin(built, self.table(8), built.model.config.pad_token_id, seeds.adapters)
        return built

    def fit(
        self,
        built: BuiltModel,
        config: FitConfig,
        checkpoints: Path,
        rows: int = 8,
        watcher: Watcher | None = None,
        **changes: Any,
    ) -> FitResult:
        """Train a built model on `rows` made-up examples."""
        from pipeline.training.loop import fit

        return fit(self.plan(built, config, checkpoints, rows, **changes), watcher or Watcher())

    def plan(self, built: BuiltModel, config: FitConfig, checkpoints: Path, rows: int = 8, **changes: Any) -> FitPlan:
        from pipeline.evaluation.task import ClassificationTask
        from pipeline.training.checkpoints import CheckpointFolder
        from pipeline.training.plan import FitPlan

        plan = FitPlan(
            model=built.model,
            encoder=built.context.encoder,
            parameters=built.parameters,
            train=self.table(rows),
            validation=self.table(16, seed=1),
            task=ClassificationTask(self.classes),
            pad_id=built.model.config.pad_token_id,
            config=config,
            precision="fp32",
            checkpoints=CheckpointFolder(checkpoints),
            strategy=built.strategy,
        )
        return replace(plan, **changes)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", autouse=True)
def frozen_garbage() -> None:
    """Leave what earlier modules imported out of garbage collection, with which every training ends: a third of its time."""
    gc.freeze()


@pytest.fixture(scope="module")
def blank_pictures() -> Iterator[None]:
    """Write empty pictures, where nobody looks at them: to draw takes three quarters of the time of a comparison."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "draw", lambda self, renderer: None)
        patch.setattr("pipeline.comparison.pareto.adjust_text", lambda *texts, **options: None)
        yield


@pytest.fixture(scope="session")
def watch() -> type[Watcher]:
    """Makes observers: `watch(after_step=..., stops_at=...)`."""
    return Watcher


@pytest.fixture(scope="session", params=list_model_types())
def family(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn."""
    return request.param


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite tracking store with MLflow's tables and no run; making them takes seconds, so it is made once and copied."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(scope="session", autouse=True)
def short_timings() -> Iterator[None]:
    """Time a few answers alone: most tests look at something else, and all that are evaluated wait for these."""
    from pipeline.stages.testing import answering, timing

    with pytest.MonkeyPatch.context() as patch:
        for module in (answering, timing):
            patch.setattr(module, "TEXTS", 2)
        patch.setattr(timing, "FEW_TEXTS", 2)
        patch.setattr(timing, "ROUNDS", (2, 2))
        patch.setattr(timing, "BATCHES", (4,))
        patch.setattr(timing, "_FEWEST", 4)
        patch.setattr(timing, "_MOST", 4)
        yield
