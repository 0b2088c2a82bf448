"""How many documents a table needs, from answers that were given."""

import numpy as np
import pytest
from synthetic_store import fill

from scripts.miniature import power
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import collect


def two() -> dict[str, power.Part]:
    return {"a": power.Part(100, 1.0, np.array([4.0, 4.0])), "b": power.Part(50, 4.0, np.array([2.0, 8.0]))}


def test_a_difference_shows_from_2_8_standard_errors_on():
    found = power.detectable(two(), {"a": 100, "b": 50})
    np.testing.assert_allclose(found, 2.8016 * np.sqrt([6.0, 12.0]), rtol=1e-4)
    np.testing.assert_allclose(power.detectable(two(), {"a": 400, "b": 200}), found / 2)


def test_documents_go_where_they_are_noisy_and_cheap():
    wanted = power.needed(two(), 5.0)
    assert np.median(power.detectable(two(), wanted)) == pytest.approx(5.0, rel=0.02)
    assert wanted["a"] / wanted["b"] == pytest.approx((400 / 1 / (250 / 4)) ** 0.5, rel=0.03)


def test_the_parts_of_a_stored_table_add_up_to_its_variance(tmp_path):
    level = "77.8"
    planned = fill(tmp_path, only=lambda p: p.row.level in ("", level) and p.column.backbone == "llava-1.5-7b")
    resamples = Resamples(unmixed(collect(planned, tmp_path)))
    parts = power.parts_of(resamples, "llava-1.5-7b", level)
    scale = resamples.scales["llava-1.5-7b"]
    assert parts.keys() == scale.slugs.keys()
    assert {part.documents for part in parts.values()} == {24}
    rows = [r for r in resamples.results.rows("llava-1.5-7b") if r.level == level and r.role == "method"]
    one, other = [r for r in rows if r.protocol == "layer_average"][:2]
    whole = resamples.rel("llava-1.5-7b", one).against(resamples.rel("llava-1.5-7b", other)).detectable
    alone = power.detectable(parts, dict.fromkeys(parts, 24))[0]
    assert alone == pytest.approx(whole, rel=0.15)
    told = "\n".join(power.lines(resamples, level, 5.0))
    assert "pairs of methods; shown with 80 % power" in told
    assert f"fewer than two methods have a Rel at {level} on llava-next-7b" in told
