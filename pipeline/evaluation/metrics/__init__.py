"""One file a metric, or several that belong together; `base` says what one is."""
