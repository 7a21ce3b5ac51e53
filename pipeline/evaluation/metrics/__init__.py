"""One file a metric, or several that belong together; `evaluation/metric.py` says what one is."""
