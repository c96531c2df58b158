"""The lake: Delta tables that hold every record as it came and what was derived from it."""
