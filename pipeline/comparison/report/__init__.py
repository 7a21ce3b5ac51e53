"""What stands in the report, as sections of blocks, before it is HTML or Markdown."""
