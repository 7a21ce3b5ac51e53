"""Where labelled text comes from: a kind of source is a file here. `base` says what one is, and finds the one that is named."""
