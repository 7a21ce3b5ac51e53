"""Linear classifiers that a solver finds: on frozen features, or after steps on pairs of texts."""
