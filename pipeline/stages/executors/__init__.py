"""Where trials run: `base` and `registry`, then one file per executor."""
