"""How a file of texts is read, whatever becomes of them."""

from __future__ import annotations

from typing import Annotated

from pipeline.config.fields import Delimiter, config_class
from pipeline.config.stage import Data, StageConfig


@config_class
class ReadingConfig(StageConfig):
    """How a file of texts is read."""

    encoding: Annotated[str | None, Data(16)] = None
    """Encoding of text files, such as latin-1; UTF-8, or what a byte-order mark says, if not given."""
    delimiter: Annotated[Delimiter | None, Data(17)] = None
    """What delimits the fields of text files, such as ";" or tab; a comma or a tab, by the file's ending, if not given."""
    no_header: Annotated[bool, Data(18)] = False
    """true: text files begin with data and not with names of columns; columns are then named by number, the first is 1."""
    sheet: Annotated[str | None, Data(18)] = None
    """Sheet of a spreadsheet, by name or number; the only one that holds anything, if not given."""
    text_column: Annotated[str | None, Data(1)] = None
    """Column that holds the text; found by its usual names if not given."""
    text_pair_column: Annotated[str | None, Data(2)] = None
    """Column that holds the second text, where an example is a pair of texts."""
