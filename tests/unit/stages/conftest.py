"""Models as training saves them, and their exports; libraries are imported when a test asks, for most tests here do not."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def save(tiny, tmp_path_factory):
    """Writes a folder as training does, with weights that were moved at random: `save("lora", head="mean")`."""
    import torch

    from pipeline.modeling.model_sources import find_model
    from pipeline.strategies.base import create_strategy
    from pipeline.training.beginning import begin
    from pipeline.training.saved_model import ModelRecord, write_model_folder

    def save(name, arguments=None, family="bert", pooler=True, head="pooler", objective="classification", **further):
        base, classes = further.pop("base", None) or tiny.folder(family, pooler), further.pop("classes", tiny.classes)
        validation = further.pop("validation", {})
        pairs, multi = further.pop("pairs", False), further.pop("multi", False)
        asked = tiny.objective(objective, head=head, pairs=pairs, multi=multi, classes=tuple(classes))
        strategy = create_strategy(name, arguments or {})
        built = tiny.build(strategy, base, tiny.config(head=head), objective=asked)
        begin(built, tiny.table(16), 0, 0)
        torch.manual_seed(0)
        for parameter in built.parameters.parameters:
            if parameter.trains:
                built.model.get_parameter(parameter.name).data += 0.05 * torch.randn(parameter.shape)
        folder = tmp_path_factory.mktemp("saved") / "model"
        address = find_model(str(base))
        below = address.name if address.revision else str(address.folder)
        record = ModelRecord(
            *(below, address.revision, address.sha256(), name, arguments or {}, list(classes), 32, 0.1, 1, 1),
            head=head,
            objective=objective,
            pairs=pairs,
            multi=multi,
            validation=validation,
            **further,
        )
        write_model_folder(folder, built, record)
        return folder

    return save


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """Exports a folder: `exported(folder, "peft")`, the result."""
    from pipeline.config import ExportConfig
    from pipeline.stages import export
    from pipeline.tracking.memory import MemoryTracker

    monkeypatch.chdir(tmp_path)

    def exported(folder, form, output="out", **options):
        config = ExportConfig(model=str(folder), format=form, output=output, **options)
        return export.run(config, MemoryTracker())

    return exported
