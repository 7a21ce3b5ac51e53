"""Arguments of a strategy as they are typed: `top_k=4,layers=[1,2]`."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from pipeline.errors import ConfigError, shorten


def parse_arguments(value: object) -> object:
    """`{"top_k": "4", "layers": ["1", "2"]}` from `top_k=4,layers=[1,2]`; a mapping passes through.

    Raises:
        ConfigError: A part is not `key=value`, a bracket is not closed, or a key stands twice.
    """
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    arguments: dict[str, object] = {}
    for part in _split_outside_brackets(value):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise ConfigError(f"--strategy-args: {shorten(part)!r} is not key=value. Write for example r=16,alpha=32.")
        if key in arguments:
            raise ConfigError(f"--strategy-args: {shorten(key)!r} is given twice. Give it once.")
        is_list = text.startswith("[") and text.endswith("]")
        arguments[key] = [item.strip() for item in text[1:-1].split(",") if item.strip()] if is_list else text
    return arguments


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth not in (0, 1):
            break
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise ConfigError(f"--strategy-args: the brackets of {shorten(text)!r} do not match. Write a list as key=[a,b].")
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


Arguments = Annotated[dict[str, Any], BeforeValidator(parse_arguments)]
