"""Options that say what is read of texts that are longer than the model's input."""

from __future__ import annotations

from typing import Annotated

from pipeline.config.fields import LongTexts, OfEncoder, Overlap, config_class
from pipeline.config.stage import Data, StageConfig


@config_class
class LongTextsConfig(StageConfig):
    """What is read of texts that are longer than the model's input."""

    long_texts: Annotated[LongTexts, OfEncoder(), Data(6)] = "head"
    """Of a text longer than --max-length is read: head, its beginning; head_tail, a quarter from its beginning and the rest
    from its end; windows, all of it: each of its overlapping pieces trains with its label, and their outputs are averaged."""
    window_overlap: Annotated[Overlap, OfEncoder(), Data(6)] = 0.25
    """With --long-texts windows: share of a piece's tokens that the next piece repeats."""
