"""A model that `export` wrote as a graph, run by onnxruntime and asked as any other trained model."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.code_version import how_to_install
from pipeline.data.long_texts import LongTextReading
from pipeline.errors import ConfigError, DamagedModelError, ModelError
from pipeline.hashing import find_damage, hash_file, list_sealed
from pipeline.json_text import parse_json
from pipeline.modeling.foreign_folders import LABELS, RECORD
from pipeline.modeling.model_sources import TOKENIZER_FILES, hash_files, read_model
from pipeline.modeling.restored_tokenizer import restore_tokenizer
from pipeline.tracking.provenance import processor
from pipeline.tracking.tags import Tag
from pipeline.training.acceleration.base import OFF
from pipeline.training.meters import MIB
from pipeline.training.saved_model import FineTunedModel, objective_of, read_record

if TYPE_CHECKING:
    from torch import nn

GRAPH = "model.onnx"
WEIGHTS = f"{GRAPH}.data"
"""Where the weights are if there are more than fit into the graph's own file: 2 GB."""


@dataclass(frozen=True)
class OnnxModel(FineTunedModel):
    """A graph with its tokenizer, ready to predict."""

    megabytes: float = 0.0
    """Of the graph's files."""
    name: str = ""
    """Strategy and format, as a row of the table is called."""
    sha256: str = ""
    """Of the graph's file; of several over their names and contents."""

    @property
    def tags(self) -> Mapping[str, str]:
        """By which its row is told from others, also of a folder that is written anew."""
        return {Tag.ENTRY: self.name, Tag.BASE_SHA256: self.sha256}

    @property
    def runs_on(self) -> str:
        """Graphs are run on the CPU, whatever else there is."""
        return processor()

    @property
    def size_metrics(self) -> Mapping[str, float]:  # type: ignore[override]
        """How large the files are: what parameters are in a graph is not said there."""
        return {"cost/artifact_mb": self.megabytes}


def find_onnx_folder(folder: Path) -> Path | None:
    """The folder, if `export` wrote a graph there."""
    return folder if (folder / GRAPH).is_file() and (folder / RECORD).is_file() else None


def list_graph_files(folder: Path) -> list[Path]:
    """The graph, and what lies beside it of its weights: all that export wrote and that is neither tokenizer nor text."""
    known = (GRAPH, *TOKENIZER_FILES)
    beside = [name for name in list_sealed(folder) if name not in known and not name.endswith((".json", ".md"))]
    return [folder / GRAPH, *(folder / name for name in beside)]


def load_onnx_folder(folder: Path) -> OnnxModel:
    """The model of a folder that `export` wrote as a graph.

    Raises:
        ConfigError: onnxruntime is not installed.
        ModelError: The folder is damaged.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError(f"{folder}: needs onnxruntime. Run {how_to_install('onnxruntime')}.")
    if (names := list_sealed(folder)) and (damaged := find_damage(folder, names)):
        raise DamagedModelError(
            f"{folder}: {damaged} is missing or damaged, it is not what export wrote. Copy the folder again, or export again.",
            damaged,
        )
    from transformers import AutoTokenizer

    record, address = read_record(folder), read_model(str(folder), folder, None)
    objective = objective_of(record)
    try:
        module = _as_module(folder / GRAPH)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        restore_tokenizer(tokenizer, folder)
        about = parse_json((folder / LABELS).read_text(encoding="utf-8"))
    except Exception as error:  # onnxruntime, transformers and json each raise their own
        raise ModelError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}. Export again.") from error
    files = list_graph_files(folder)
    return OnnxModel(
        module,
        tokenizer,
        objective,
        objective.task.settled(record.validation),
        record.max_length,
        objective.encoder(address),
        (OFF,),
        LongTextReading(record.long_texts, record.window_overlap),
        megabytes=sum(file.stat().st_size for file in files) / MIB,
        name=f"{record.strategy} ({about.get('format', 'onnx')})",
        sha256=hash_file(files[0]) if len(files) == 1 else hash_files(files),
    )


def _as_module(graph: Path) -> nn.Module:
    """The graph as torch calls a model, on the CPU."""
    import torch
    from onnxruntime import InferenceSession, SessionOptions
    from torch import nn
    from transformers.modeling_outputs import SequenceClassifierOutput

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session: Any = InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}

    class Graph(nn.Module):
        """Tensors in, logits out."""

        def forward(self, **inputs: torch.Tensor | None) -> SequenceClassifierOutput:
            given = {name: tensor.long().cpu().numpy() for name, tensor in inputs.items() if tensor is not None}
            (logits,) = session.run(None, {name: array for name, array in given.items() if name in wanted})
            return SequenceClassifierOutput(logits=torch.from_numpy(logits))

    return Graph()
