"""Figures of record, serve and keep as Prometheus reads them: `ticktape_<part>_<what>_<unit>`, read when asked for.

Nothing is counted here: the tape's board, the pool and keep's own figures are looked at when somebody scrapes. No
label names an instrument, so a key for some symbols learns of no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from ticktape.lake.figures import KeepFigures, KeepStat
from ticktape.serve import answers as a

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
NS = 1e9

Pairs = list[tuple[str, float | None]]  # value of the label, figure; without a figure there is no line


class Seen(NamedTuple):
    """What the figures are read from. No keep: it does not answer."""

    status: a.StatusAnswer
    keep: KeepStat | None
    asking: int  # questions about the past under way
    sending_bytes: int


def text(seen: Seen) -> bytes:
    """Return all figures in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(seen))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from _record(self._seen.status)
        yield from _sources(self._seen.status.sources)
        yield from _serve(self._seen)
        yield _gauge("keep_up", "1 while keep answers", float(self._seen.keep is not None))
        if self._seen.keep is not None:
            yield from _keep(self._seen.keep)
            yield from _checks(self._seen.keep)
            yield from _backup(self._seen.keep.figures)


def _gauge(name: str, what: str, value: float | None) -> Metric:
    return _with("gauge", name, what, "", [("", value)])


def _count(name: str, what: str, value: float | None) -> Metric:
    return _with("counter", name, what, "", [("", value)])


def _with(kind: str, name: str, what: str, label: str, pairs: Pairs) -> Metric:
    made = GaugeMetricFamily if kind == "gauge" else CounterMetricFamily
    family = made(f"ticktape_{name}", what, labels=[label] if label else [])
    for value_of_label, value in pairs:
        if value is not None:
            family.add_metric([value_of_label] if label else [], value)
    return family


def _record(status: a.StatusAnswer) -> Iterator[Metric]:
    recorder, tape = status.recorder, status.tape
    yield _gauge("record_up", "1 while the recorder writes", float(recorder.status == "up"))
    yield _gauge("record_disk_full", "1 while the disk has no room", float(recorder.disk_full or recorder.low_space))
    yield _count("record_sync_failures", "fsyncs that failed", recorder.sync_failures)
    yield _count("record_clock_steps", "times the machine's clock was set", recorder.clock_steps)
    yield _count("record_records", "records on the tape since it began", tape.end)
    yield _gauge("record_kept_records", "records that the tape still has", tape.end - tape.first)
    yield _gauge("record_volatile_records", "records that a power loss may still take", tape.end - tape.durable)
    yield _gauge("record_open_gaps", "gaps that are open", status.open_gaps)
    yield _gauge("record_instruments", "instruments enrolled", status.instruments)


def _sources(listed: list[a.SourceStatus]) -> Iterator[Metric]:
    def per(kind: str, name: str, what: str, values: list[float | None]) -> Metric:
        return _with(kind, name, what, "source", [(s.name, v) for s, v in zip(listed, values, strict=True)])

    yield per("gauge", "record_source_up", "1 while the source is up", [float(s.status == "up") for s in listed])
    yield per("counter", "record_source_records", "records of the source", [s.records for s in listed])
    yield per("counter", "record_source_doubtful_records", "records with a flag", [s.doubtful for s in listed])
    yield per("counter", "record_source_quarantined_frames", "frames set aside", [s.quarantined for s in listed])
    yield per("gauge", "record_source_age_seconds", "age of the newest record", [s.age_s for s in listed])
    yield per("gauge", "record_source_skew_seconds", "venue's clock minus ours", [s.skew_s for s in listed])


def _serve(seen: Seen) -> Iterator[Metric]:
    yield _gauge("serve_behind_records", "published, not yet in bars and gaps", seen.status.tape.behind)
    yield _gauge("serve_past_questions", "questions about the past under way", seen.asking)
    yield _gauge("serve_past_sending_bytes", "answers about the past on their way", seen.sending_bytes)


def _keep(stat: KeepStat) -> Iterator[Metric]:
    figures, last = stat.figures, stat.figures.last_flush_ns
    yield _count("keep_flushes", "flushes tried", figures.flushes)
    yield _count("keep_flush_failures", "flushes that failed", figures.failures)
    yield _gauge("keep_flush_failures_in_a_row", "flushes that failed since one did not", figures.failures_in_a_row)
    yield _count("keep_flushed_rows", "rows moved into the lake", figures.rows)
    yield _count("keep_flushed_bytes", "bytes of the files they went into", figures.bytes)
    yield _count("keep_flush_seconds", "time spent in flushes", figures.seconds)
    yield _gauge("keep_lag_records", "on the tape, not in every table yet", _known(figures.lag_records))
    yield _gauge(
        "keep_last_flush_timestamp_seconds", "when a flush last ended well", None if last is None else last / NS
    )
    yield _count("keep_compacted_partitions", "partitions compacted", figures.compactions)
    yield _count("keep_expired_partitions", "partitions let go", figures.expiries)
    yield _count("keep_deleted_files", "files that no version needed", figures.deleted_files)
    yield _count("keep_tidy_failures", "tables that could not be tidied up", figures.tidy_failures)
    yield _gauge("keep_open_alerts", "alerts of keep that are not over", len(stat.alerts))


def _known(lag: int) -> float | None:
    return None if lag < 0 else lag


def _checks(stat: KeepStat) -> Iterator[Metric]:
    figures, spots = stat.figures, stat.figures.spots

    def by_side(name: str, what: str, values: Pairs) -> Metric:
        return _with("counter", name, what, "with", values)

    yield by_side("keep_spot_samples", "minutes compared", [(name, s.samples) for name, s in spots.items()])
    yield by_side("keep_spot_checked_values", "rows or bars compared", [(name, s.checked) for name, s in spots.items()])
    yield by_side("keep_spot_passed_values", "of them the same", [(name, s.passed) for name, s in spots.items()])
    yield _gauge("keep_spot_pass_ratio", "share of comparisons that passed", stat.spot_pass_rate)
    yield _count("keep_spot_failures", "samples that could not be taken", figures.spot_failures)
    yield _count("keep_spot_venue_away", "samples for which the venue could not be asked", figures.venue_away)
    yield _count("keep_quality_days", "days settled", figures.quality_days)
    yield _count("keep_quality_findings", "what was unusual about them", figures.quality_findings)
    yield _count("keep_quality_failures", "days that could not be settled", figures.quality_failures)


def _backup(figures: KeepFigures) -> Iterator[Metric]:
    backup = figures.backup
    last, drilled = backup.last_ns, backup.last_drill_ns
    yield _count("keep_backups", "backups made", backup.made)
    yield _count("keep_backup_failures", "backups that failed", backup.failures)
    yield _gauge("keep_last_backup_timestamp_seconds", "when the newest was made", None if last is None else last / NS)
    yield _count("keep_drills", "backups restored and compared", backup.drills)
    yield _count("keep_drill_failures", "that did not come back as they were", backup.drill_failures)
    yield _gauge("keep_last_drill_timestamp_seconds", "when the last was", None if drilled is None else drilled / NS)
    ok = backup.last_drill_ok
    yield _gauge("keep_last_drill_ok", "1 when the last came back as it was", None if ok is None else float(ok))
