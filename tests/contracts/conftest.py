import gc

import pytest


@pytest.fixture(scope="package", autouse=True)
def frozen_garbage():
    """Leave what was imported out of garbage collection: a training ends with one, and most of its time would go there."""
    import peft  # noqa: F401
    import transformers.models.auto.modeling_auto  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
