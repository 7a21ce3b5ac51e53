"""What makes the comparison of a study unfair, known before it is run."""

from __future__ import annotations

from pipeline import config as configs
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.plan import StudyPlan


def find_doubts(plan: StudyPlan) -> list[str]:
    """Settings that were chosen for something else, or for nothing; a sentence each, with the way out."""
    config, recipe = plan.config, load_recipe(plan.config.recipe)
    plans = [inputs.config for inputs in plan.strategies if not inputs.strategy.is_solved]
    lines = []
    without = [plan.title for plan in plans if plan.title not in recipe.strategies]
    if without and recipe.strategies and not config.tune and "learning_rate" not in config.given:
        lines.append(
            f"Recipe {config.recipe} knows no learning rate for {', '.join(without)}: the default suits full tuning. "
            "Add --tune true, or give rates in a recipe of your own (docs/studies.md)."
        )
    given = set(config.given)
    options = ("model", "dataset", *configs.PART_FILES)
    changed = [name for name in options if name in given and getattr(config, name) != recipe.options.get(name)]
    other = dict.fromkeys("dataset" if name in configs.PART_FILES else name for name in changed)
    if other and len(without) < len(plans) and not config.tune and "learning_rate" not in given:
        lines.append(
            f"The learning rates of recipe {config.recipe} were chosen for another {' and '.join(other)}. "
            "For a fair comparison add --tune true."
        )
    return lines
