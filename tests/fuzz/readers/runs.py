"""Runs of a tracking store that somebody else may have written: tags, parameters, metrics and files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from pipeline.comparison.predictions import read_predictions, read_record
from pipeline.config import TrainConfig
from pipeline.config.fields import as_dict
from pipeline.csv_text import guard, unguard
from pipeline.stages.configure import configure
from pipeline.stages.run_record import read_config
from pipeline.stages.study.tags import also_called, doubts_in, planned_in, reused_by, unfit_in
from pipeline.tracking import run_kinds
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.results import frame_of
from pipeline.tracking.run_options import say_option
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

from ..reader import Reader, Room
from .data import SEPARATOR, join_files

_RUN_ID = "a" * 32


def _tracker(files: Mapping[str, bytes], **parts: Any) -> MemoryTracker:
    """A store of one run, with files that carry no checksums, as those of older versions."""
    tracker = MemoryTracker()
    tracker.runs[_RUN_ID] = Run(_RUN_ID, "a run", "FINISHED", 0, None, **parts)
    for name, content in files.items():
        target = tracker.artifact(_RUN_ID, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return tracker


def _read_predictions(content: bytes, room: Room) -> None:
    """`predictions.csv`, and behind it `per_class.csv`; the first line says what was predicted."""
    kind, _, rest = content.partition(b"\n")
    first, _, second = rest.partition(SEPARATOR)
    metrics = {"test/f1_macro": 0.5} | ({"test/subset_accuracy": 0.5} if kind == b"sets" else {})
    tracker = _tracker({"predictions.csv": first, "per_class.csv": second}, metrics=metrics)
    recorded = read_predictions([tracker.get(_RUN_ID)], tracker)
    if _RUN_ID in recorded.predicted:
        assert len(recorded.gold) == len(recorded.texts) == len(recorded.predicted[_RUN_ID])
    else:
        assert recorded.missing


def _prediction_seeds() -> list[bytes]:
    classes = b"class,precision\nneg,1\npos,1\n"
    return [
        b"classes\nsentence,gold,pred,score_neg,score_pos\na film,pos,neg,0.75,0.25\n'=b,neg,neg,1,0\n" + SEPARATOR + classes,
        b'classes\nsentence,sentence_pair,gold,pred,confidence,margin\na,"b\nc",01,1,0.5,0.1\n' + SEPARATOR + b"class\n01\n",
        b'sets\nsentence,gold,pred,score_a,score_b\nx,"[""a""]","[]",0.5,0.25\n' + SEPARATOR + b"class\na\nb\n",
        b"classes\nsentence,gold,pred,cosine\nx,1,0,0.5\n" + SEPARATOR,
    ]


def _read_config(content: bytes, room: Room) -> None:
    tracker = _tracker({"config.json": content})
    read_record(tracker.get(_RUN_ID), "config.json", tracker)
    read_config(tracker, tracker.get(_RUN_ID), str(room.kept))


@functools.cache
def _config() -> dict[str, Any]:
    return as_dict(configure(TrainConfig, {"strategy": "lora"}))


def _read_runs(content: bytes, room: Room) -> None:
    """Tags, parameters and metrics: `tag NAME=VALUE` and so on, a line each."""
    parts: dict[str, dict[str, Any]] = {"tag": {}, "param": {}, "metric": {}}
    for line in content.decode("utf-8", "replace").split("\n"):
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition("=")
        if kind in parts and name:
            parts[kind][name] = value
    metrics: dict[str, float] = {}
    for name, value in parts["metric"].items():
        try:
            metrics[name] = float(value)
        except ValueError:
            metrics[name] = 0.5
    tracker = _tracker({}, tags=parts["tag"], params=parts["param"], metrics=metrics)
    run = tracker.get(_RUN_ID)
    frame_of(tracker)
    for look in (reused_by, also_called, unfit_in, doubts_in, planned_in):
        look(run, tracker)
    for ask in (run_kinds.budget_of, run_kinds.count_processes, run_kinds.count_at_once, run_kinds.row_name):
        ask(run)
    for name in run.params:
        say_option(run, name)
    if run_kinds.was_trained_here(run) and {"config_hash", Tag.SETTINGS_HASH, "strategy"} <= run.tags.keys():
        run_kinds.row_key(run)
        run_kinds.configuration(run)
        run_kinds.describe_arguments(run)
        run_kinds.learning_rate(run)


def _run_seeds() -> list[bytes]:
    tags = {"stage": "train", "strategy": "lora", "config_hash": "c", str(Tag.SETTINGS_HASH): "s"}
    more = {str(Tag.NUM_PROCESSES): "2", str(Tag.STRATEGY_ARGS): '{"r": 4}', str(Tag.TUNED_TRIALS): "8"}
    study = {
        "stage": "main",
        str(Tag.PLANNED): '{"lora": [0, 5]}',
        str(Tag.REUSED): '{"b": "lora"}',
        str(Tag.ALSO_CALLED): '{"b": ["again"]}',
        str(Tag.DOUBTS): '["one"]',
        str(Tag.NOT_RUN): '{"ptuning": "why"}',
    }
    old = {
        "stage": "main",
        "planned/0": '["lora", 0, 5]',
        "doubt/0": '"x"',
        "reused/b": "lora",
        "sha256/a.csv": "0",
        "workers": "2",
    }

    def lines(kind: str, values: Mapping[str, str]) -> str:
        return "".join(f"{kind} {name}={value}\n" for name, value in values.items())

    params = lines("param", {"learning_rate": "1e-4", "seed": "0", "head": "mean", "objective": "siamese", "run_id": "x"})
    metrics = lines("metric", {"test/f1_macro": "0.5", "val/accuracy": "nan", "cost/train_seconds": "inf"})
    return [
        (lines("tag", {**tags, **more}) + params + metrics).encode(),
        lines("tag", study).encode(),
        lines("tag", old).encode(),
    ]


def _read_cell(content: bytes, room: Room) -> None:
    text = content.decode("utf-8", "replace")
    assert unguard(guard(text)) == text


READERS = (
    Reader(
        "predictions", _read_predictions, _prediction_seeds, lambda: ["sentence", "gold", "pred", "score_", SEPARATOR.decode()]
    ),
    Reader(
        "config of a run",
        _read_config,
        lambda: [json.dumps(_config()).encode(), b'{"given": ["strategy"], "strategy": "lora"}', join_files({"[]": "1"})],
        lambda: [*(f'"{name}": ' for name in _config()), "null", "[]", "{}", "1e999"],
    ),
    Reader("tags and parameters", _read_runs, _run_seeds, lambda: [*(f"\ntag {tag}=" for tag in Tag), "\nparam ", "\nmetric "]),
    Reader("cell of a table", _read_cell, lambda: [b"=1+1", b"'=x", b"-1", b"plain"], lambda: ["=", "'", "\t", "＝"]),
)
