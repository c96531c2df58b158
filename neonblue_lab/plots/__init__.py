"""Charts that a person learns from, in one look: Polars frames in, Altair charts out."""

from neonblue_lab.plots.behaviour import (
    flow_chart,
    funnel_chart,
    journeys_map,
    score_chart,
    segment_profile_chart,
)
from neonblue_lab.plots.classifier import abstention_chart, confusion_chart
from neonblue_lab.plots.experiments import lift_chart, p_value_histogram, sample_ratio_chart
from neonblue_lab.plots.message import message_chart
from neonblue_lab.plots.models import drift_chart, reliability_chart, scores_chart
from neonblue_lab.plots.neighbours import neighbours_map
from neonblue_lab.plots.outcome import prediction_chart, win_rate_chart
from neonblue_lab.plots.planning import minimum_lift_chart, power_chart
from neonblue_lab.plots.programme import decision_chart, prior_chart
from neonblue_lab.plots.readout import cumulative_lift_chart, interval_chart
from neonblue_lab.plots.search import likeness_chart, outcomes_chart
from neonblue_lab.plots.segments import segment_forest
from neonblue_lab.plots.splits import sample_ratio_panel
from neonblue_lab.plots.theme import use_theme
from neonblue_lab.plots.topics import dead_letter_chart, records_chart
from neonblue_lab.plots.trend import anomaly_chart, backtest_chart, forecast_chart, season_chart

__all__ = [
    "abstention_chart",
    "anomaly_chart",
    "backtest_chart",
    "confusion_chart",
    "cumulative_lift_chart",
    "dead_letter_chart",
    "decision_chart",
    "drift_chart",
    "flow_chart",
    "forecast_chart",
    "funnel_chart",
    "interval_chart",
    "journeys_map",
    "lift_chart",
    "likeness_chart",
    "message_chart",
    "minimum_lift_chart",
    "neighbours_map",
    "outcomes_chart",
    "p_value_histogram",
    "power_chart",
    "prediction_chart",
    "prior_chart",
    "records_chart",
    "reliability_chart",
    "sample_ratio_chart",
    "sample_ratio_panel",
    "score_chart",
    "scores_chart",
    "season_chart",
    "segment_forest",
    "segment_profile_chart",
    "use_theme",
    "win_rate_chart",
]
