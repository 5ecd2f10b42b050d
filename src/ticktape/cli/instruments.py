"""`ticktape instruments`: what is enrolled, and what its vendors call it."""

from __future__ import annotations

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption, tape_of

HEADER = ("id", "symbol", "venue", "class", "tick_size", "size_step", "calendar", "names")


def instruments(*, data: DataOption, json: JsonOption = False) -> None:
    """List the instruments of the tape."""
    import msgspec

    from ticktape.tape import meta
    from ticktape.tape.directory import TapeDirectory

    folder = tape_of(data)
    meta.load(folder)  # no tape: say so, and create nothing
    directory = TapeDirectory(folder)
    try:
        found = [(each, directory.names(each.id)) for each in directory.all()]
    finally:
        directory.close()
    if json:
        show.as_json([msgspec.to_builtins(each) | {"names": names} for each, names in found])
        return
    body = [
        (
            *(str(each.id), each.symbol, each.venue, each.asset_class.value),
            *(str(each.tick_size), str(each.size_step), each.calendar),
            " ".join(f"{name.vendor}={name.name}" for name in names),
        )
        for each, names in found
    ]
    show.rows(HEADER, body)
