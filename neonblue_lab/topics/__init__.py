"""Readers and writers of records: Kafka clusters and archive folders, behind one protocol."""
