"""What a comparison says in sentences: the verdict, and what must be said beside it."""
