"""Which texts of different splits are the same, or one inside another."""
