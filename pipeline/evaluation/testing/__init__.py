"""What is measured of a test alone: no training looks at it."""
