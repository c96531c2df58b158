"""One way of training for all models: honest splits, scores with intervals, calibration, drift, weights that are data."""
