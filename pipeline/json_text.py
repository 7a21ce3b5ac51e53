"""JSON from files that anybody may have written, or that were damaged."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


def parse_json(text: str) -> Any:
    """What the text says, as `json.loads` has it.

    Raises:
        ValueError: It is no JSON, or nested so deep that Python's parser gives up, which raises a RecursionError of its own.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deep") from error


def parse_json_as(text: str, kind: Any) -> Any:
    """What the text says, as a value of a type.

    Args:
        kind: A dataclass of ours, or a type such as `dict[str, list[int]]`; values are not converted.

    Raises:
        ValueError: It is no JSON, or not of that type; said in one line.
    """
    from pydantic import TypeAdapter, ValidationError

    if dataclasses.is_dataclass(kind):
        known = {field.name for field in dataclasses.fields(kind)}
        content = parse_json(text)
        if isinstance(content, dict) and (unknown := sorted(content.keys() - known)):
            raise ValueError(f"{unknown[0]!r} is none of its entries")
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
