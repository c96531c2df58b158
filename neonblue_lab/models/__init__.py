"""Models learned from the lake: what kind of event this is, where a metric is going. Each is published as data, not
code."""
