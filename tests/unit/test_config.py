"""The example file says every key with its default, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ticktape.config import Config, convert, load
from ticktape.errors import Misconfigured
from ticktape.serve.alarms.rules import Thresholds

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_example_file_is_the_defaults() -> None:
    said, default = load(EXAMPLE, {}), Config()
    assert (said.record, said.keep, said.sample) == (default.record, default.keep, default.sample)
    assert said.serve.past == default.serve.past
    assert (said.serve.host, said.serve.port, said.serve.origins) == (default.serve.host, default.serve.port, ())
    assert convert(said.serve.alerts, Thresholds, "serve.alerts") == Thresholds()
    assert set(said.serve.alerts) == set(Thresholds.__struct_fields__)


def test_the_environment_goes_before_the_file() -> None:
    said = load(EXAMPLE, {"TICKTAPE_SERVE__ALERTS__STALE_S": "30", "TICKTAPE_KEEP__HOT_HOURS": "24"})
    assert convert(said.serve.alerts, Thresholds, "serve.alerts").stale_s == 30
    assert said.keep.hot_hours == 24


@pytest.mark.parametrize(
    "alerts", [{"stale": 5}, {"stale_s": "soon"}, {"expiry_h": "never"}], ids=["key", "number", "list"]
)
def test_a_threshold_that_is_none_is_named(alerts: dict[str, object]) -> None:
    with pytest.raises(Misconfigured, match=r"serve\.alerts"):
        convert(alerts, Thresholds, "serve.alerts")
