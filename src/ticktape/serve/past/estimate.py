"""What a question would read, by the statistics of the log and the footers, without reading a row."""

from __future__ import annotations

import msgspec

from ticktape.serve import answers as a
from ticktape.serve.past.asks import AskEstimate, Reply
from ticktape.serve.past.view import View

MINUTE_NS = 60 * 10**9


def answer_estimate(ask: AskEstimate, view: View) -> tuple[Reply, bytes]:
    """Return the estimate."""
    minutes = ask.width_ns > 0 and ask.width_ns % MINUTE_NS == 0
    table = "bars" if minutes else ask.kind
    found = view.snapshot.estimate(
        table, [fact.instrument.id for fact in ask.facts], ask.start_ns, ask.end_ns, exact=True
    )  # fmt: skip
    start = max(view.snapshot.position(table), view.tape.first)
    answer = a.EstimateAnswer(
        as_of_position=view.tape.end,
        sample=view.sample,
        table=table,
        lake=view.state(table),
        files=found.files,
        rows=found.rows,
        bytes=found.bytes,
        tape_records=max(view.tape.end - start, 0),
        most_rows=ask.allowance.rows_read,
        allowed=found.rows <= ask.allowance.rows_read,
    )
    body = msgspec.json.encode(answer)
    return Reply(size=len(body)), body
