from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.hashing import read_with_checksum
from pipeline.stages.study import plan
from pipeline.stages.study.plan import settle_precision


def test_auto_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"auto": "bf16", "bf16": "bf16", "fp32": "fp32"}
    monkeypatch.setattr(plan, "choose_precision", answers.__getitem__)
    assert settle_precision("auto", str(tmp_path)) == "bf16"
    answers["auto"] = "fp32"
    assert settle_precision("auto", str(tmp_path)) == "bf16"
    assert settle_precision("auto", str(tmp_path / "other")) == "fp32"
    monkeypatch.setattr(plan, "cpu_name", lambda: "another machine")
    assert settle_precision("auto", str(tmp_path)) == "fp32"


@pytest.mark.parametrize("content", ["", "{", '"fp8"', '["fp32"]'])
def test_what_cannot_be_read_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(plan, "choose_precision", lambda option: "fp32")
    settle_precision("auto", str(tmp_path))
    [file] = (tmp_path / "precision").iterdir()
    file.write_text(content)
    assert settle_precision("auto", str(tmp_path)) == "fp32"
    assert read_with_checksum(file.read_text()) == "fp32"


def test_a_flipped_bit_is_no_other_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"auto": "bf16", "bf16": "bf16", "fp32": "fp32", "fp16": "fp16"}
    monkeypatch.setattr(plan, "choose_precision", answers.__getitem__)
    settle_precision("auto", str(tmp_path))
    [file] = (tmp_path / "precision").iterdir()
    file.write_text(file.read_text().replace("bf16", "fp16"))
    assert settle_precision("auto", str(tmp_path)) == "bf16"
    file.write_text('"fp32"')  # as older versions wrote it
    assert settle_precision("auto", str(tmp_path)) == "fp32"


def test_what_was_asked_for_is_taken_or_refused(tmp_path: Path) -> None:
    assert settle_precision("fp32", str(tmp_path)) == "fp32"
    with pytest.raises(ConfigError, match="fp16"):
        settle_precision("fp16", str(tmp_path))
    assert not list(tmp_path.iterdir())
