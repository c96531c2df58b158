"""What an event means, worked out when it is taken in: five groups of fields, each naming the model that filled it.

Enrichment looks at nothing but the events given and the models named: the same batch gives the same fields. Where a group as a
whole is null, no model has looked; where a field of it is null, the model could not tell.
"""

from typing import Protocol

import polars as pl

from neonblue_lab.events.classification import LABEL_SCHEMA, classify
from neonblue_lab.events.journey_stages import stage
from neonblue_lab.events.prose import keywords, prose, text_keys
from neonblue_lab.events.quality import PARTS, quality
from neonblue_lab.events.records import TIMESTAMP
from neonblue_lab.events.sentiment import MODEL as SENTIMENT_MODEL
from neonblue_lab.events.sentiment import sentiment

RULES = "rules@1"
"""The rules of this package: of labels, stages, keywords, quality and routing. Another number whenever they answer otherwise."""

ARRIVAL_SCHEMA: dict[str, pl.DataType] = {
    "arrived_at": TIMESTAMP,
    "sent_by": pl.String(),
    "field_count": pl.Int32(),
    "repaired_fields": pl.Int32(),
}
"""How an event arrived: `arrived_at`, the broker's time of its record; `sent_by`, the system that a header of the record names;
`field_count`, how many fields the record had, and `repaired_fields`, how many of them the envelope does not know, or had to be
read otherwise than they stood. Null: not known."""

ENRICHMENT_SCHEMA: dict[str, pl.Struct] = {
    "ai_classification": pl.Struct(LABEL_SCHEMA | {"confidence": pl.Float64(), "model": pl.String()}),
    "semantic_context": pl.Struct(
        {
            "embedding_key": pl.String(),
            "context_keywords": pl.List(pl.String),
            "sentiment_score": pl.Float64(),
            "user_journey_stage": pl.String(),
            "model": pl.String(),
        }
    ),
    "ai_context": pl.Struct(
        {
            "user_journey_stage": pl.String(),
            "behavioral_score": pl.Float64(),
            "intent_prediction": pl.Float64(),
            "segment": pl.String(),
            "model": pl.String(),
        }
    ),
    "prediction_context": pl.Struct(
        {
            "likely_next_action": pl.String(),
            "probability": pl.Float64(),
            "recommended_variant": pl.String(),
            "model": pl.String(),
        }
    ),
    "routing_metadata": pl.Struct(
        {
            "source_system": pl.String(),
            "processing_pipeline": pl.String(),
            "expected_latency": pl.Float64(),
            "data_quality_score": pl.Float64(),
            **dict.fromkeys(PARTS, pl.Float64()),
            "model": pl.String(),
        }
    ),
}
"""Column of the lake's table `events` -> its fields.

- `ai_classification`: the labels (see `classification`); `confidence` of the least certain of those that a model gave, null
  where rules gave them all.
- `semantic_context`: keywords and prose (see `prose`), its sentiment (see `sentiment`), and the journey stage of the event's
  type. A vector would be eight times as large as the event: `embedding_key` refers to it. It is the SHA-256 by which the lake's
  table `vectors` keeps the vectors of texts, of the event's prose.
- `ai_context`, `prediction_context`: what a model of behaviour says of the user up to and including this event; without one,
  only the stage is filled, by rule.
- `routing_metadata`: `source_system` as a header or the property `source` names it, else the topic; `processing_pipeline`, the
  data type and processing strategy of the labels; `expected_latency`, the seconds that the strategy allows; the quality score
  and its parts (see `quality`).
"""

BEHAVIOUR_FIELDS = {
    "ai_context": ("user_journey_stage", "behavioral_score", "intent_prediction", "segment"),
    "prediction_context": ("likely_next_action", "probability", "recommended_variant"),
}
"""The groups that a model of behaviour fills -> its columns."""

LATENCY = {"real_time": 1.0, "stream": 300.0, "batch": 86_400.0}
"""Label processing_strategy -> seconds until an event has to be where it is needed: at once, within minutes, nightly."""

_SOURCE = r'"source"\s*:\s*"'


class Enricher(Protocol):
    """Fills the five groups."""

    @property
    def name(self) -> str:
        """The models that answer, such as `rules@1+event_classifier@3`."""

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """Work out the groups of each event.

        Args:
            events: columns of EVENT_SCHEMA and of ARRIVAL_SCHEMA.

        Returns:
            Columns of ENRICHMENT_SCHEMA, one row an event, in order. Nothing but `events` and the named models decides.
        """


class RuleEnricher:
    """Enrichment by rules alone: what a lab without models has. May be used by several threads at once."""

    name = RULES

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """See `Enricher`."""
        return enrichment(events, rule_labels(events), stages_by_rule(events))


def enrichment(events: pl.DataFrame, labels: pl.DataFrame, behaviour: pl.DataFrame) -> pl.DataFrame:
    """Put the groups together, working out those that only rules fill.

    Args:
        events: columns of EVENT_SCHEMA and of ARRIVAL_SCHEMA.
        labels: the fields of ai_classification as columns.
        behaviour: the columns of BEHAVIOUR_FIELDS that are known, and `model`.

    Returns:
        Columns of ENRICHMENT_SCHEMA, one row an event, in order.
    """
    of_properties = _of_properties(events["properties"])
    groups = {
        "ai_classification": labels,
        "semantic_context": of_properties.with_columns(_stage(events), model=pl.lit(f"{RULES}+{SENTIMENT_MODEL}")),
        "ai_context": behaviour,
        "prediction_context": behaviour if _predicts(behaviour) else None,
        "routing_metadata": _routing(events, labels, of_properties["source"]),
    }
    return pl.DataFrame([_group(name, columns, events.height) for name, columns in groups.items()])


def rule_labels(events: pl.DataFrame) -> pl.DataFrame:
    """The fields of ai_classification as columns, by rule."""
    return classify(events).with_columns(confidence=pl.lit(None, pl.Float64), model=pl.lit(RULES))


def stages_by_rule(events: pl.DataFrame) -> pl.DataFrame:
    """What is known of behaviour without a model of it: columns user_journey_stage and model."""
    return pl.DataFrame({"user_journey_stage": _stage(events)}).with_columns(model=pl.lit(RULES))


def _predicts(behaviour: pl.DataFrame) -> bool:
    return not set(BEHAVIOUR_FIELDS["prediction_context"]).isdisjoint(behaviour.columns)


def _group(name: str, columns: pl.DataFrame | None, rows: int) -> pl.Series:
    """A group of fields as one column; fields that no column fills are null, and without any columns so is the group."""
    kind = ENRICHMENT_SCHEMA[name]
    if columns is None:
        return pl.repeat(None, rows, dtype=kind, eager=True).alias(name)
    fields = (
        (pl.col(field.name) if field.name in columns.columns else pl.lit(None)).cast(field.dtype).alias(field.name)
        for field in kind.fields
    )
    return columns.select(pl.struct(fields).alias(name)).to_series()


def _stage(events: pl.DataFrame) -> pl.Series:
    return events.select(user_journey_stage=stage(pl.col("event_type"))).to_series()


def _of_properties(properties: pl.Series) -> pl.DataFrame:
    """What the properties of each event say, looked up among distinct ones: embedding_key, context_keywords, sentiment_score
    and source."""
    distinct = properties.drop_nulls().unique()
    texts = prose(distinct)
    names_source = pl.when(pl.col("properties").str.contains(_SOURCE)).then("properties")
    said = pl.DataFrame(
        {
            "properties": distinct,
            "embedding_key": text_keys(texts),
            "context_keywords": keywords(distinct),
            "sentiment_score": sentiment(texts),
        }
    ).with_columns(source=names_source.str.json_path_match("$.source"))
    return properties.to_frame("properties").join(said, on="properties", how="left", maintain_order="left")


def _routing(events: pl.DataFrame, labels: pl.DataFrame, source: pl.Series) -> pl.DataFrame:
    strategy = labels["processing_strategy"]
    return quality(events).with_columns(
        pl.select(source_system=pl.coalesce(events["sent_by"], source, events["topic"])).to_series(),
        pl.select(processing_pipeline=pl.concat_str(labels["data_type"], strategy, separator="_")).to_series(),
        strategy.replace_strict(LATENCY, default=None, return_dtype=pl.Float64).alias("expected_latency"),
        model=pl.lit(RULES),
    )


BY_RULE = RuleEnricher()
