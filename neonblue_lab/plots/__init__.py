"""Charts that a person learns from, in one look: Polars frames in, Altair charts out."""

from neonblue_lab.plots.classifier import confusion_chart, reliability_chart
from neonblue_lab.plots.experiments import lift_chart, p_value_histogram, sample_ratio_chart
from neonblue_lab.plots.neighbours import neighbours_map
from neonblue_lab.plots.planning import minimum_lift_chart, power_chart
from neonblue_lab.plots.programme import decision_chart, prior_chart
from neonblue_lab.plots.readout import cumulative_lift_chart, interval_chart
from neonblue_lab.plots.segments import segment_forest
from neonblue_lab.plots.splits import sample_ratio_panel
from neonblue_lab.plots.theme import use_theme
from neonblue_lab.plots.topics import dead_letter_chart, records_chart
from neonblue_lab.plots.trend import backtest_chart, forecast_chart

__all__ = [
    "backtest_chart",
    "confusion_chart",
    "cumulative_lift_chart",
    "dead_letter_chart",
    "decision_chart",
    "forecast_chart",
    "interval_chart",
    "lift_chart",
    "minimum_lift_chart",
    "neighbours_map",
    "p_value_histogram",
    "power_chart",
    "prior_chart",
    "records_chart",
    "reliability_chart",
    "sample_ratio_chart",
    "sample_ratio_panel",
    "segment_forest",
    "use_theme",
]
