"""What a strategy may train: predicates over the place of a parameter."""

from collections.abc import Callable

from pipeline.modeling.encoder import Place

Selector = Callable[[Place], bool]


def everything(place: Place) -> bool:
    """Select every parameter of the model."""
    return place.part != "spare"


def head(place: Place) -> bool:
    """Select the classifier."""
    return place.part == "head"


def added(place: Place) -> bool:
    """Select what the strategy put into the model, such as adapters."""
    return place.part == "added"


def biases(place: Place) -> bool:
    """Select every `bias`, the classifier's included, and no weight."""
    return place.part != "spare" and place.name.endswith(".bias")


def pooler(place: Place) -> bool:
    """Select what stands between the top layer and the classifier, such as BERT's pooler."""
    return place.part == "pooler"


def embeddings(place: Place) -> bool:
    """Select the embedding tables, with their norm and projection."""
    return place.part == "embeddings"


def norms(place: Place) -> bool:
    """Select scale and shift of every layer norm."""
    return place.part not in ("spare", "added") and "norm" in place.name.lower()


def inside_layers(*components: str) -> Selector:
    """Select those parameters of the encoder layers that have one of the components in their dotted name."""
    return lambda place: place.part == "layer" and not set(components).isdisjoint(place.name.split("."))


def layers(start: int, stop: int) -> Selector:
    """Select the encoder layers from `start` up to but not including `stop`, counted from 0 at the bottom."""
    return lambda place: place.layer is not None and start <= place.layer < stop


def either(*selectors: Selector) -> Selector:
    """Select what any of the selectors selects."""
    return lambda place: any(selects(place) for selects in selectors)
