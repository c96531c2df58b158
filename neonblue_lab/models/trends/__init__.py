"""Where a metric is going: forecasts that were tried on the series' own past."""
