"""How much memory a training will take, and what becomes of memory that was freed."""
