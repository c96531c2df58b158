"""Metric definitions, and the sufficient statistics that they come down to."""
