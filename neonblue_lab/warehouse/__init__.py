"""Engines that query the lake: DuckDB over pinned versions of its tables."""
