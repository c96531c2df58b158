"""Topics to lake: a bounded replay, what it would read, or a follower."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from neonblue_lab.cli.asked import LINGER_SECONDS, Asked
from neonblue_lab.cli.moments import moment
from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import DONE, FAILED, NOTHING_TO_DO, answer


def replay(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics; all that the source has unless named.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="An archive folder, kafka://host:port, or - for lines of JSON on stdin (one topic, until the input "
            "ends). Default: topics/ of the data folder.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="From a moment on: 2026-01-05, 2026-01-05T10:00 (UTC without a zone), or ago: 15m, 2h, 7d."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to a moment, and without it; written as --since.")] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(help="topic:partition:from-to, stopping before `to`; repeatable. No other partition is read."),
    ] = None,
    max_records: Annotated[int | None, typer.Option(min=1, help="At most so many records of each topic.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what arrives, until Ctrl-C or SIGTERM.")] = False,
    group: Annotated[
        str | None, typer.Option(help="With --follow: share the partitions with all followers of this name.")
    ] = None,
    linger: Annotated[
        float | None,
        typer.Option(
            min=0.01, help=f"With --follow: seconds until a batch that is not full is stored; {LINGER_SECONDS:g}."
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="With --follow: Prometheus metrics on this port of 127.0.0.1; 0: any."),
    ] = None,
    client: Annotated[
        Literal["kafka-python", "confluent"] | None,
        typer.Option(help="Kafka client; $NEONBLUE_KAFKA_CLIENT, else kafka-python."),
    ] = None,
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="Go on where records were deleted unread; `neonblue lake gaps` lists them."),
    ] = False,
    sync: Annotated[
        bool,
        typer.Option("--sync", help="Deliver to the stores outside the lake as well: when done, and while following."),
    ] = False,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="json: on stderr, one JSON object a line and nothing else.")
    ] = "text",
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Bring the lake up to the end of a source's topics, exactly once. Run again, it adds only what is new."""
    lab = open_lab(home)
    now = datetime.now(UTC)
    asked = Asked(
        location=source or str(lab.settings.topics),
        topics=tuple(topics) if topics else None,
        since=moment("--since", since, now) if since else None,
        until=moment("--until", until, now) if until else None,
        offsets=tuple(offsets or ()),
        max_records=max_records,
        dry_run=dry_run,
        follow=follow,
        group=group,
        linger=linger,
        metrics_port=metrics_port,
        client=client,
        accept_gap=accept_gap,
        sync=sync,
        log_format=log_format,
    )
    asked.check()
    if asked.dry_run:
        plan = lab.plan(
            asked.location, asked.topics, selection=asked.selection, accept_gap=asked.accept_gap, client=asked.client
        )
        answer(plan.to_dict(), as_json, str(plan))
        return NOTHING_TO_DO if plan.nothing_to_do else DONE
    from neonblue_lab.cli.replaying import run

    report, delivered = run(lab, asked)
    document = report.to_dict() | ({} if delivered is None else {"sync": delivered.to_dict()})
    answer(document, as_json, "\n".join(str(part) for part in (report, delivered) if part is not None))
    if asked.follow:
        return DONE
    if delivered is not None and not delivered.ok:
        return FAILED
    return NOTHING_TO_DO if report.nothing_to_do else DONE
