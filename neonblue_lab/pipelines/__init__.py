"""Notebooks run as pipelines: a YAML file names the steps; a run leaves notebooks, reports and `run.json`."""
