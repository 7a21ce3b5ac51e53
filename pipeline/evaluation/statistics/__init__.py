"""How sure scores are, and whether they differ: said of results that are there, and no part of them."""
