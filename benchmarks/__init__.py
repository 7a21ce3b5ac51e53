"""Side-by-side measurements against the scripts that people usually run."""
