"""A graph for onnxruntime with weights of 8 bits."""

from __future__ import annotations

from pathlib import Path

from pipeline.stages.exporting.formats.onnx import Onnx


class OnnxInt8(Onnx):
    """The graph of `onnx`, quantised dynamically: weights when it is written, what they are multiplied with when it runs."""

    relation = "quantized"
    is_exact = False

    def place(self, whole: Path, target: Path) -> None:
        """Quantise it, into one file if it came in one: a quarter of more than 2 GB may be more than that still."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        in_several = len([*whole.parent.iterdir()]) > 1
        quantize_dynamic(whole, target, weight_type=QuantType.QInt8, use_external_data_format=in_several)
