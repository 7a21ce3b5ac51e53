"""How many layers a strategy's argument means, and encoders whose layers cannot train one by one."""

import math

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import Encoder


def count_layers(label: str, size: float, encoder: Encoder) -> int:
    """How many layers a size means: a whole number as it is, less than 1 a share of the depth, to the nearest layer.

    Halves go up, so that of 6 layers two thirds and three quarters are not the same.

    Args:
        label: Strategy and argument as they are typed, such as `freeze_bottom: bottom`.

    Raises:
        ConfigError: Not a whole number, or more layers than there are.
    """
    depth = encoder.depth
    if size < 1:
        return min(depth, max(1, math.floor(size * depth + 0.5)))
    if size != int(size):
        raise ConfigError(f"{label}={size:g} is neither a whole number of layers nor a share of the depth below 1.")
    if size > depth:
        raise ConfigError(f"{label}={size:g} exceeds the {depth} layers of {encoder.name}. Choose 1 to {depth}.")
    return int(size)


def require_own_layers(strategy: str, encoder: Encoder) -> None:
    """Refuse an encoder whose layers cannot train differently.

    Raises:
        ConfigError: Layers share weights.
    """
    if encoder.shares_layers:
        sets = "one set" if encoder.layer_sets == 1 else f"{encoder.layer_sets} sets"
        raise ConfigError(
            f"{strategy} cannot work on {encoder.model_type}: the {encoder.depth} layers of {encoder.name} share {sets} of "
            "weights, so the top ones cannot train otherwise than those below. Choose another strategy."
        )
