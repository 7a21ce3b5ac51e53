"""What a format of exported models is, and the model that is written."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.code_version import how_to_install
from pipeline.data.columns import Input
from pipeline.data.long_texts import FROM_THE_BEGINNING
from pipeline.errors import ConfigError
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.evaluation.task import ClassificationTask, RegressionTask, ThresholdTask
from pipeline.hashing import CHECKSUMS
from pipeline.hub import CARD
from pipeline.modeling.foreign_folders import LABELS
from pipeline.modeling.loading import quiet_transformers
from pipeline.modeling.model_sources import PACKAGED, PACKAGED_ID, TOKENIZER_FILES, ModelAddress
from pipeline.modeling.restored_tokenizer import save_tokenizer
from pipeline.modeling.split_model import plain_model
from pipeline.registry import EXPORT_FORMATS
from pipeline.strategies.adapters import merge_into_base
from pipeline.training.saved_model import FineTunedModel, ModelRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True)
class Exportable:
    """A trained model that is to be written; formats may change it on the way."""

    trained: FineTunedModel
    record: ModelRecord
    address: ModelAddress
    """The model below, on this disk."""
    delta: frozenset[str]
    """Names of the parameters that training changed."""

    @property
    def base(self) -> str:
        """How others find the model below: its id on the hub, or its folder where it has none."""
        below = self.record.adapter_base or self.record.base
        return PACKAGED_ID if below == PACKAGED else below

    @property
    def base_revision(self) -> str | None:
        """The hub's commit of it; None of a folder, and of the packaged one."""
        record = self.record
        return record.adapter_base_revision if record.adapter_base else record.base_revision

    @property
    def base_id(self) -> str | None:
        """Its id on the hub; None where it is a folder."""
        return self.base if self.base_revision or self.base == PACKAGED_ID else None

    @property
    def base_name(self) -> str:
        """What it is called elsewhere: its id, or the last part of its folder's path."""
        return self.base_id or Path(self.base).name

    @property
    def is_quantized(self) -> bool:
        """Whether the weights below are of fewer bits than training's."""
        return getattr(self.trained.model.config, "quantization_config", None) is not None

    @property
    def has_virtual_tokens(self) -> bool:
        """Whether tokens without a text come before every text, or keys and values of such."""
        return any(config.is_prompt_learning for config in getattr(self.trained.model, "peft_config", {}).values())

    @property
    def why_head_is_unknown(self) -> str:
        """Why transformers' own class has no place for what stands on the encoder; empty where it has."""
        from transformers import PreTrainedModel

        if not isinstance(plain_model(self.trained.model), PreTrainedModel):
            return f"--objective {self.record.objective} compares two texts, for which there is no model class"
        head, usual = self.record.head, self.address.encoder.head
        return f"--head {head} is none that transformers has" if head != usual else ""

    @property
    def added_layers(self) -> list[str]:
        """Names of parameters for which the family's own model has no place; not of those that peft put there."""
        import torch

        model = self.trained.model
        if plain_model(model) is not model:
            return []
        with torch.device("meta"):
            own = {name for name, _ in type(model)(model.config).named_parameters()}
        names = (name for name, _ in model.named_parameters() if ".parametrizations." not in name)
        return [name for name in names if name not in own]

    @property
    def outputs(self) -> int:
        """How many the head has."""
        return len(self.record.classes) or 1

    def merge(self) -> nn.Module:
        """The model with everything that can be put into its own weights put there; changes it."""
        from peft import PeftModel
        from torch.nn.utils import parametrize

        model: Any = self.trained.model.cpu().eval()
        if isinstance(model, PeftModel) and not self.has_virtual_tokens:
            model = merge_into_base(model)
        for module in [module for module in model.modules() if parametrize.is_parametrized(module)]:
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        merged: nn.Module = model.eval()
        return merged

    def set_labels(self, model: nn.Module) -> None:
        """Write into the model's config what its outputs mean, as transformers reads it, and nothing of this machine."""
        config: Any = model.config
        problems = {"class": "single_label_classification", "multi": "multi_label_classification", "score": "regression"}
        # A cosine is one output for two classes.
        config.problem_type = "regression" if config.num_labels == 1 else problems[self.trained.problem.label_type]
        config.fairtune = self.describe_outputs()
        config.name_or_path = config._name_or_path = ""

    def describe_outputs(self) -> dict[str, Any]:
        """What the outputs mean, for whoever has the folder alone."""
        task, record = self.trained.task, self.record
        known: dict[str, Any] = {"labels": list(record.classes), "label_type": record.problem.label_type}
        if isinstance(task, ClassificationTask):
            known |= {"probabilities": "softmax", **({} if task.threshold is None else {"threshold": task.threshold})}
        elif isinstance(task, MultiLabelTask):
            known |= {"probabilities": "sigmoid", "thresholds": list(task.thresholds)}
        elif isinstance(task, ThresholdTask):
            known |= {"threshold": task.threshold}
        elif isinstance(task, RegressionTask):
            known |= {"score_range": [task.low, task.high]}
        return {**known, "max_length": self.trained.max_length, "long_texts": record.long_texts, "pairs": record.pairs}

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files, with the length that texts are cut to."""
        tokenizer = self.trained.tokenizer
        before, tokenizer.model_max_length = tokenizer.model_max_length, self.trained.max_length
        try:
            save_tokenizer(tokenizer, folder)
        finally:  # it is the one that other models of this process have
            tokenizer.model_max_length = before

    def answer(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """What the model puts out where of long texts the beginning is read; shape [inputs, outputs]."""
        return replace(self.trained, reading=FROM_THE_BEGINNING).predict(inputs)


class Format(ABC):
    """One way to write a model so that others run it. It lives in a module of its own in `formats/`, whose name it has."""

    packages: ClassVar[tuple[str, ...]] = ()
    """What must be installed besides; all of the extra that has the format's library as name."""
    library: ClassVar[str]
    """What loads it, as the hub calls that."""
    relation: ClassVar[str]
    """What the folder is of the base, as the hub calls that."""
    files: ClassVar[tuple[str, ...]]
    """Patterns of the names that it writes, but for those of the tokenizer and what stands in every folder."""
    is_exact: ClassVar[bool] = True
    """Whether it answers as the model did, but for rounding."""

    @property
    def name(self) -> str:
        """As `--format` has it."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    def why_not(self, model: Exportable) -> str:
        """What of the model has no place in the format; empty where all has."""
        return ""

    @abstractmethod
    def write(self, model: Exportable, folder: Path) -> None:
        """Write it, tokenizer included; may change the model."""

    @abstractmethod
    def load_and_answer(self, model: Exportable, folder: Path, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """What the written folder puts out; shape [inputs, outputs]."""

    @abstractmethod
    def example(self, model: Exportable, folder: str) -> str:
        """Python that loads the folder and predicts.

        Args:
            folder: Where it is, as it shall be written there.
        """


def find_format(name: str) -> Format:
    """The format that `--format` names.

    Raises:
        ConfigError: A package that it needs is missing.
    """
    found: Format = EXPORT_FORMATS.only_class(name.replace("-", "_"), Format)()  # type: ignore[type-abstract]
    if missing := [package for package in found.packages if importlib.util.find_spec(package) is None]:
        raise ConfigError(
            f"--format {name}: needs {' and '.join(missing)}. Run {how_to_install(*missing)}, or choose another format."
        )
    return found


def check_place(form: Format, model: Exportable) -> None:
    """Hold that the format has a place for all of the model.

    Raises:
        ConfigError: It has not; with the formats that have.
    """
    if not (reason := form.why_not(model)):
        return
    fitting = [other.name for other in _list_formats() if not other.why_not(model)]
    way_out = f"Give --format {' or '.join(fitting)}, which has." if fitting else "No format has: serve it, or use predict."
    raise ConfigError(f"--format {form.name}: has no place for this model: {reason}. {way_out}")


def list_written() -> list[str]:
    """Patterns of all names that formats write: what an earlier export may have left where another one is uploaded."""
    own = {name for form in _list_formats() for name in form.files}
    return sorted({LABELS, CARD, CHECKSUMS, *TOKENIZER_FILES, *own})


def _list_formats() -> list[Format]:
    return [EXPORT_FORMATS.only_class(name, Format)() for name in EXPORT_FORMATS.names()]  # type: ignore[type-abstract]


def answer_by_transformers(model: nn.Module, tokenizer: Any, inputs: Sequence[Input]) -> NDArray[np.float32]:
    """Logits as a user of transformers gets them; shape [inputs, outputs]."""
    import torch

    firsts = [given if isinstance(given, str) else given[0] for given in inputs]
    seconds = [given[1] for given in inputs if not isinstance(given, str)] or None
    tokens = tokenizer(firsts, seconds, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(**tokens).logits.float()
    return logits.numpy()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what libraries say while they load and write: it is of their insides."""
    root, silent, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(silent)  # else `logging.warning` of onnxruntime sets up the root logger for good
    logging.disable(logging.WARNING)
    heard = StringIO()
    try:
        with contextlib.ExitStack() as stack:
            for context in (
                quiet_transformers(),
                warnings.catch_warnings(action="ignore"),
                contextlib.redirect_stdout(heard),
                contextlib.redirect_stderr(heard),
            ):
                stack.enter_context(context)
            yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)
