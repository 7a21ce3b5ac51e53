"""How much memory a training will take."""
