"""The Python of the documents runs as it stands, on a store with a trained and tested run."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    (document, block)
    for document in (
        "docs/reference/runs.md",
        "docs/how-to/query-runs.md",
        "docs/how-to/serve.md",
        "docs/tutorial/from-winner-to-service.md",
    )
    for block in re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
]


def test_there_is_python_to_run():
    assert len(BLOCKS) >= 3
    assert any("predict" in block for _, block in BLOCKS)


@pytest.fixture(scope="module")
def tested(workspace):
    run_id = workspace.train(strategy="head_only", epochs=1)
    workspace.evaluate(run_id)
    return run_id


@pytest.mark.parametrize(("document", "block"), BLOCKS, ids=[document for document, _ in BLOCKS])
def test_documented_python_works(workspace, tested, capsys, monkeypatch, document, block):
    monkeypatch.setattr(sys, "path", [*sys.path])  # a loaded model puts its own copy of the code first
    block = block.replace('"rotten_tomatoes"', repr(workspace.options["dataset"]))
    exec(compile(block, document, "exec"), {})
    printed = capsys.readouterr().out
    assert "head_only" in printed
    assert "score_" in printed or "model/trainable_percent" in printed
