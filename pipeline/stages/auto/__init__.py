"""`strategy=auto`: which strategy to take, and on what that rests."""
