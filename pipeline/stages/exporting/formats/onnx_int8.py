"""A graph for onnxruntime with weights of 8 bits."""

from __future__ import annotations

from pathlib import Path

from pipeline.stages.exporting.format import Exportable
from pipeline.stages.exporting.formats.onnx import Onnx
from pipeline.stages.exporting.onnx_model import GRAPH


class OnnxInt8(Onnx):
    """The graph of `onnx`, quantised dynamically: weights when it is written, what they are multiplied with when it runs."""

    relation = "quantized"
    is_exact = False

    def write(self, model: Exportable, folder: Path) -> None:
        """Write the graph, and quantise it."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        super().write(model, folder)
        whole = (folder / GRAPH).rename(folder / f"whole-{GRAPH}")
        quantize_dynamic(whole, folder / GRAPH, weight_type=QuantType.QInt8)
        whole.unlink()
