"""Where the trials of a search run, one file each."""
