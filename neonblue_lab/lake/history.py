"""What a database's rows were and are, read from the changes to them: SQL over the rows of `changes`.

Changes arrive more than once and out of order. What a row became is told by the changes' positions in the server's log:
whoever changes a row holds its lock, so that of two changes to it the later has the higher position. Beyond that:

- A change that is sent again counts where it was sent first.
- A snapshot's position is no bound for the changes after it: a transaction may have written before the snapshot was taken and
  committed afterwards. But a connector sends what a snapshot does not show after what it shows. So what follows a
  snapshot's record in a partition has at least its place.
- A truncate ends every row before it, in whichever partition they are. So does a snapshot that is complete: a connector that
  lost its place reads the tables anew, and of what was deleted meanwhile no change may ever speak.

A large value that an update left alone is not in the change (unless the table's REPLICA IDENTITY is FULL): Debezium puts a
placeholder, in the place of which stands here what the row held before; null where no change says what that was. It is told in
texts, JSON, arrays of texts, and bytea. A change of the primary key, which arrives as a delete and a create at one position,
leaves large values alone too.
"""

_PLACEHOLDER = "__debezium_unavailable_value"
_PLACEHOLDER_BYTES = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
_UNAVAILABLE = (f'"{_PLACEHOLDER}"', f'["{_PLACEHOLDER}"]', f'"{_PLACEHOLDER_BYTES}"')


def versions(rows: str, source_table: str) -> str:
    """SQL for the versions of every row of a table, the present and the past ones.

    Columns: key; row, its JSON; position, from which on it was so; position_end, up to which it was, null where it still is;
    committed_at and ended_at, the times of the commits that made and ended it.

    Args:
        rows: SQL for a relation with the columns of `changes`; each version needs all changes before it.
        source_table: which table.
    """
    # A key has a life for each time that a row of it was created. `lineage` goes back, by changes of the primary key, through
    # the lives of a row with a placeholder: it is their values that it may still hold.
    return f"""(WITH RECURSIVE said AS (SELECT * FROM {rows} AS changes WHERE source_table = '{source_table}'),
        firsts AS (
            SELECT * FROM said WHERE op <> 't'
            QUALIFY row_number() OVER (PARTITION BY key, position, op ORDER BY topic, "partition", "offset") = 1
        ),
        placed AS (
            SELECT *, greatest(position, max(CASE WHEN op = 'r' THEN position END)
                OVER (PARTITION BY topic, "partition" ORDER BY "offset")) AS place
            FROM firsts
        ),
        ordered AS (
            SELECT *, row_number() OVER following AS nth, count(*) FILTER (WHERE op = 'c') OVER following AS life,
                lead(place) OVER following AS next_place, lead(committed_at) OVER following AS next_committed_at
            FROM placed
            WINDOW following AS (
                PARTITION BY key ORDER BY place, op <> 'r', position, topic, "partition", "offset")
        ),
        ends AS (
            SELECT position, max(committed_at) AS committed_at FROM said
            WHERE op = 't' OR snapshot IN ('last', 'last_in_data_collection') GROUP BY position
        ),
        torn AS (
            SELECT DISTINCT key, life FROM ordered
            WHERE op <> 'd' AND (contains(row, '{_PLACEHOLDER}') OR contains(row, '{_PLACEHOLDER_BYTES}'))
        ),
        lineage AS (
            SELECT key, life, key AS of_key, life AS of_life, NULL::BIGINT AS begun FROM torn
            UNION ALL
            SELECT lineage.key, lineage.life, ended.key, ended.life, ended.position FROM lineage
            JOIN (SELECT key, life, position FROM ordered WHERE op = 'c') AS made ON made.key = of_key AND made.life = of_life
            JOIN (SELECT key, life, position FROM ordered WHERE op = 'd') AS ended
                ON ended.position = made.position AND ended.key <> made.key
            WHERE coalesce(made.position < begun, true)
        ),
        fields AS (
            SELECT lineage.key AS row_key, lineage.life, of_key, place, nth, field.id, field.key AS field,
                CASE WHEN field.value::VARCHAR NOT IN {_UNAVAILABLE} THEN field.value END AS value
            FROM lineage JOIN ordered ON ordered.key = of_key AND ordered.life = of_life, json_each(ordered.row) AS field
            WHERE op <> 'd'
        ),
        filled AS (
            SELECT row_key, nth, '{{' || string_agg(to_json(field) || ':' || coalesce(held, 'null'), ',' ORDER BY id) || '}}' AS row
            FROM (SELECT *, last_value(value IGNORE NULLS)
                OVER (PARTITION BY row_key, life, field ORDER BY place, nth) AS held FROM fields)
            WHERE of_key = row_key GROUP BY row_key, life, nth
        )
        SELECT ordered.key, coalesce(filled.row, ordered.row) AS row, place AS position,
            least(next_place, ends.position) AS position_end, ordered.committed_at,
            CASE WHEN coalesce(ends.position < next_place, true) THEN ends.committed_at ELSE next_committed_at END AS ended_at
        FROM ordered
        ASOF LEFT JOIN ends ON place < ends.position
        LEFT JOIN filled ON filled.row_key = ordered.key AND filled.nth = ordered.nth
        WHERE op <> 'd')"""


def current(rows: str, source_table: str) -> str:
    """SQL for the rows that a table holds now, in the columns of `versions`."""
    return f"(SELECT * FROM {versions(rows, source_table)} WHERE position_end IS NULL)"


def text(field: str) -> str:
    """SQL for a column of the JSON in `row`, as text."""
    return f"json_extract_string(row, '$.{field}')"


def moment(field: str) -> str:
    """SQL for a column of the JSON in `row`, as a time; null where it is none.

    Debezium writes timestamps with a zone in ISO 8601; those without as milli-, micro- or nanoseconds since 1970, by their
    precision; dates as days since 1970. Which of them is told by the size, rightly from 1987 to 2243.
    """
    number = f"try_cast({text(field)} AS HUGEINT)"
    epoch = f"""make_timestamptz(try_cast(
        CASE WHEN abs({number}) < 100_000 THEN {number} * 86_400_000_000
             WHEN abs({number}) < 10_000_000_000 THEN {number} * 1_000_000
             WHEN abs({number}) < 10_000_000_000_000 THEN {number} * 1_000
             WHEN abs({number}) < 10_000_000_000_000_000 THEN {number}
             ELSE {number} // 1_000 END AS BIGINT))"""
    spelled = f"try_cast({text(field)} AS TIMESTAMPTZ)"
    return f"(CASE WHEN {number} IS NOT NULL THEN {epoch} WHEN isfinite({spelled}) THEN {spelled} END)"
