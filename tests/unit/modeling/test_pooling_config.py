"""How a folder of sentence-transformers says which vectors it was trained for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.modeling.model_sources import find_model
from pipeline.modeling.pooling_config import PoolingConfig, pooling_files, read_pooling

OLD = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
OF_6 = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"


def write(
    folder: Path, pooling: object, *more: str, kind: str = "sentence_transformers.models.Pooling", at: str = "1_Pooling"
) -> Path:
    names = [("", "sentence_transformers.models.Transformer"), (at, kind)]
    names += [(f"{number}_{name}", f"sentence_transformers.models.{name}") for number, name in enumerate(more, 2)]
    modules = [{"idx": index, "name": str(index), "path": path, "type": of} for index, (path, of) in enumerate(names)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / at).mkdir(exist_ok=True)
    (folder / at / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize(
    ("pooling", "name"),
    [
        ({**OLD, "pooling_mode_cls_token": True}, "cls"),
        ({**OLD, "pooling_mode_mean_tokens": True}, "mean"),
        ({**OLD, "pooling_mode_max_tokens": True}, "max"),
        ({**OLD, "pooling_mode_lasttoken": True}, "lasttoken"),
        ({**OLD, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls+mean"),
        ({"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"pooling_mode": ["cls", "max"]}, "cls+max"),
    ],
    ids=str,
)
def test_old_and_new_settings_are_read(tmp_path: Path, pooling: dict[str, object], name: str) -> None:
    assert read_pooling(write(tmp_path, pooling)) == PoolingConfig(name, "1_Pooling/config.json")


def test_modules_that_change_vectors_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, {"pooling_mode": "mean"}, "Dense", "Normalize", kind=OF_6)
    assert read_pooling(folder) == PoolingConfig("mean", "1_Pooling/config.json", ("2_Dense",))
    assert [path.relative_to(folder).as_posix() for path in pooling_files(folder)] == ["modules.json", "1_Pooling/config.json"]


@pytest.mark.parametrize("pooling", [{}, [], {"pooling_mode": 3}, {"pooling_mode": []}, OLD], ids=str)
def test_settings_that_say_nothing_are_none(tmp_path: Path, pooling: object) -> None:
    assert read_pooling(write(tmp_path, pooling)) is None


def test_other_folders_have_none(tiny, tmp_path: Path) -> None:
    assert read_pooling(tiny.folder()) is None
    (tmp_path / "modules.json").write_text("{")
    assert read_pooling(tmp_path) is None
    outside, inside = tmp_path / "1_Pooling", tmp_path / "folder"
    inside.mkdir()
    write(tmp_path, {"pooling_mode": "cls"})
    assert outside.is_dir()
    write(inside, {"pooling_mode": "cls"}, at="../1_Pooling")
    assert read_pooling(inside) is None, "nothing outside of the folder is read"


def test_the_packaged_model_is_such_a_folder() -> None:
    assert read_pooling(find_model("minilm").folder) == PoolingConfig("mean", "1_Pooling/config.json")
