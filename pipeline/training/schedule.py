"""The learning rate by step."""

import math


def warmup_steps(total_steps: int, warmup_ratio: float) -> int:
    """Steps over which the rate rises."""
    return math.ceil(total_steps * warmup_ratio)


def linear_warmup_decay(step: int, total_steps: int, warmup: int) -> float:
    """Share of the peak rate at a step counted from 0: up linearly over `warmup` steps, then down to zero at the end.

    The formula of `transformers.get_linear_schedule_with_warmup`.
    """
    if step < warmup:
        return step / warmup
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup))
