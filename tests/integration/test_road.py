"""The road of `train --strategy lora`, as docs/ tells it, is the one that a training takes."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import pipeline
from pipeline.tracking.mlflow_logger import MlflowLogger

ROOT = Path(pipeline.__file__).parent
DOCS = ROOT.parent / "docs"
TO_THE_STEP, TO_THE_RUN = 13, 20


def told() -> list[str]:
    """The files of the list, in its order."""
    texts = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
    [road] = [text.partition("<!-- road -->")[2].partition("<!-- /road -->")[0] for text in texts if "<!-- road -->" in text]
    return re.findall(r"^\d+\. `pipeline/([\w/]+\.py)`", road, re.MULTILINE)


def own_files_on_the_stack() -> set[str]:
    frame, files = sys._getframe(1), set()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT):
            files.add(path.relative_to(ROOT).as_posix())
        frame = frame.f_back
    return files


def test_a_training_passes_through_the_files_that_are_told_and_no_others_lie_between(workspace, monkeypatch) -> None:
    at_the_step: list[set[str]] = []
    at_the_run: list[set[str]] = []
    passed: set[str] = set()

    def remember(owner: type, name: str, into: list[set[str]]) -> None:
        original: Callable[..., Any] = getattr(owner, name)
        monkeypatch.setattr(
            owner,
            name,
            lambda self, *given, **named: (into.append(own_files_on_the_stack()), original(self, *given, **named))[1],
        )

    def watch(frame: Any, event: str, _argument: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and frame.f_code.co_flags & 1 and path.startswith(str(ROOT)):  # 1: a function, no class body
            passed.add(Path(path).relative_to(ROOT).as_posix())

    remember(torch.optim.AdamW, "step", at_the_step)
    for name in ("log_params", "log_metrics", "log_text", "log_model"):
        remember(MlflowLogger, name, at_the_run)
    sys.setprofile(watch)
    try:
        result = workspace.cli("train", **workspace.options, strategy="lora")
    finally:
        sys.setprofile(None)
    assert result.exit_code == 0, result.output

    road = told()
    assert len(road) == len(set(road)) <= TO_THE_RUN
    assert at_the_step
    assert at_the_run
    assert set().union(*at_the_step) <= set(road[:TO_THE_STEP])
    assert set().union(*at_the_run) <= set(road)
    assert [file for file in road if file not in passed] == []
