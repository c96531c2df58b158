"""Stores outside the lake that are fed from it: ClickHouse and PostgreSQL, behind one protocol."""
