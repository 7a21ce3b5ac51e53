"""Where labelled text comes from: a kind of source is one file here. `data/source.py` says what one is, and finds it."""
