"""One module per entry point, each with `run(config, tracker)`; the other modules and the folders are parts of them."""
