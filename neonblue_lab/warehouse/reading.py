"""What a reader sees of the lake: views over the stored rows, in which repeated deliveries count once, later statements
replace earlier ones, and the registry's tables are as its database holds them.

Below, `stored.<table>` is a table of the lake as it lies there. A table that is not named here is read as it lies.
"""

from neonblue_lab.events.changes import SOURCE_TABLES
from neonblue_lab.lake.history import current, moment, text, versions

_CHANGES = "stored.changes"

VIEWS = {
    "events": """SELECT * FROM stored.events
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY topic, partition, "offset") = 1""",
    "assignments": f"""SELECT experiment_id, user_id, variant_id, min(first_exposed_at) AS first_exposed_at
        FROM stored.assignments GROUP BY experiment_id, user_id, variant_id
        UNION ALL
        SELECT * FROM (
            SELECT {text("experiment_id")} AS experiment_id, {text("user_id")} AS user_id,
                {text("variant_id")} AS variant_id, {moment("assigned_at")} AS first_exposed_at
            FROM {current(_CHANGES, "assignments")})
        ANTI JOIN stored.assignments USING (experiment_id)""",
    "dead_letters": 'SELECT * FROM stored.dead_letters ANTI JOIN stored.revived_letters USING (topic, partition, "offset")',
    "metric_totals": """SELECT * FROM stored.metric_totals QUALIFY row_number() OVER (
        PARTITION BY experiment_id, variant_id, metric, segment, period_start, period_end ORDER BY as_of DESC, event_id) = 1""",
    "corrections": """SELECT * FROM stored.corrections QUALIFY row_number() OVER (
        PARTITION BY scope, CASE scope WHEN 'event' THEN event_id ELSE event_type END, label
        ORDER BY made_at DESC, correction_id DESC) = 1""",
    "documents": """SELECT * FROM stored.documents
        QUALIFY dense_rank() OVER (PARTITION BY document_id ORDER BY updated_at DESC, event_id DESC) = 1
            AND row_number() OVER (PARTITION BY document_id, event_id, chunk_id) = 1""",
    "variants": """SELECT experiment_id, unnest(variant) FROM (
        SELECT experiment_id, unnest(variants) AS variant FROM stored.experiments)""",
    "users": f"""SELECT {text("user_id")} AS user_id, {moment("created_at")} AS created_at,
            json_merge_patch(row, '{{"user_id":null,"created_at":null}}')::VARCHAR AS attributes
        FROM {current(_CHANGES, "users")}""",
    "row_history": "\nUNION ALL\n".join(
        f"SELECT '{table}' AS source_table, * FROM {versions(_CHANGES, table)}" for table in SOURCE_TABLES
    ),
}
"""View -> what it selects.

- `assignments`: who was exposed to what; of an experiment without exposures, whom the registry assigned to what.
- `corrections`: the latest of each label of an event or an event type.
- `documents`: the chunks of each document as its latest event has it.
- `variants`: experiment_id, variant_id, name, description, allocation.
- `users`: user_id, created_at, attributes (JSON: the other columns of the registry's table).
- `row_history`: every row of the registry's tables as it was from `position` up to `position_end` of the server's log (null:
  it still is). The tables as of a position p: `position <= p AND coalesce(position_end > p, true)`.
"""
