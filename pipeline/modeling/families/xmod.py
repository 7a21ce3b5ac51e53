"""X-MOD."""

from typing import Any

from pipeline.modeling.family import Family


class Xmod(Family):
    """X-MOD (Pfeiffer et al. 2022, arXiv:2205.06266): XLM-RoBERTa with an adapter per language in every layer.

    All texts are of `default_language`; the adapters of other languages are not used, and the operations of the used one not
    counted.
    """

    model_types = ("xmod",)
    base_prefix = "roberta"
    examples = ("facebook/xmod-base",)
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    linear = ("query", "key", "value", "dense", "dense1", "dense2")
    layer_attributes = ("output",)  # whose adapters' names the model reads
    counts_positions_from_padding = True

    def unused(self, config: Any) -> tuple[str, ...]:
        """The adapters of other languages."""
        return tuple(language for language in config.languages if language != _language(config))

    def layer_weights(self, config: Any) -> int:
        """With those of the language's adapter."""
        size = int(config.hidden_size)
        return super().layer_weights(config) + 2 * size * (size // int(config.adapter_reduction_factor))

    def why_unsupported(self, config: Any) -> str | None:
        """Norms before blocks, which end with one more, and a language that nothing says."""
        if config.pre_norm:
            return "pre_norm=True in config.json is not supported, only False is"
        if _language(config) in config.languages:
            return None
        languages = ", ".join(config.languages[:8]) + (", ..." if len(config.languages) > 8 else "")
        return (
            f"default_language={config.default_language} in config.json is none of its languages. Set it to that of the texts: "
            f"{languages}"
        )

    def repair(self, model: Any) -> None:
        """Its language, and under autocast the type of what adapters return, which is written into states of another."""
        model.config.default_language = _language(model.config)
        for layer in model.base_model.encoder.layer:
            for adapter in layer.output.adapter_modules.values():
                adapter.register_forward_hook(_return_given_type)


def _language(config: Any) -> str | None:
    """The default, or the only one."""
    language: str | None = config.languages[0] if len(config.languages) == 1 else config.default_language
    return language


def _return_given_type(_adapter: Any, given: tuple[Any, ...], returned: Any) -> Any:
    return returned.to(given[0].dtype)
