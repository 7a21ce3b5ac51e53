"""A family that no file describes, from the command line to its scores."""

import json

from tiny_encoders import write_like_its_defaults

from pipeline.tracking.tags import Tag


def test_a_family_that_no_file_describes_is_said_recorded_and_tested(workspace, tmp_path):
    folder = tmp_path / "unknown"
    write_like_its_defaults(folder, True, "layoutlm")
    options = {**workspace.options, "model": folder, "strategy": "partial", "strategy_args": "top_k=1", "epochs": 3}
    result = workspace.cli("train", **options)
    assert result.exit_code == 0, result.output
    assert (
        result.output.count("no file describes the family layoutlm, so it was read off the model: layers in encoder.layer") == 1
    )
    [run] = [run for run in workspace.tracker.search() if run.tags.get(Tag.INFERRED_FAMILY)]
    inferred = json.loads(run.tags[Tag.INFERRED_FAMILY])
    assert (inferred["layers"], inferred["pooler"], inferred["max_positions"]) == ("encoder.layer", "pooler", 64)
    assert run.tags[Tag.FROZEN_PREFIX_CACHE] == "built"
    assert workspace.evaluate(run.run_id).test["accuracy"] > 0.5
    known = workspace.tracker.get(workspace.train(strategy="head_only", epochs=1))
    assert Tag.INFERRED_FAMILY not in known.tags
