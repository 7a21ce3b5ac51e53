"""One module per entry point, each with `run(config, tracker)`; the others are parts that stages share."""
