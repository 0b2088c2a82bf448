"""Figure 2 from a synthetic store: losses in nats with intervals, the unpruned model at zero."""

import pytest
import synthetic_store

from tops.planning.plan import plan
from tops.reporting.build import make
from tops.reporting.data.results import collect
from tops.reporting.figures.figures import write_figures
from tops.reporting.tables.fidelity import fidelity_columns, increases
from tops.settings.schema import ColumnConfig, Experiment, PaperReference, RowConfig

BACKBONE = "llava-1.5-7b"
EXPERIMENT = Experiment(
    "fidelity",
    "fidelity",
    (BACKBONE,),
    (ColumnConfig("mme_fidelity", "mme_fidelity"), ColumnConfig("textvqa_fidelity", "textvqa_fidelity")),
    (
        RowConfig(("none",), "reference", levels=()),
        RowConfig(("divprune", "tops")),
        RowConfig(("text_only",), "control", levels=()),
    ),
    {"77.8": {BACKBONE: 128}, "88.9": {BACKBONE: 64}, "94.4": {BACKBONE: 32}},
    PaperReference(figures=(2,)),
)
LOSS = {"none": 0.5, "tops": 0.75, "divprune": 1.5, "text_only": 3.5}


@pytest.fixture(scope="module")
def uncertainty(tmp_path_factory):
    root, stock = tmp_path_factory.mktemp("results"), synthetic_store.answers

    def measured(planned, documents, **more):
        for answer in stock(planned, documents, **more):
            loss = LOSS[planned.row.method] + 0.1 * (answer.doc_id % 3) * (planned.row.method != "none")
            target = {"loss": [loss, loss], "unpruned_loss": [0.5, 0.5], "agrees": [True, planned.row.method == "none"]}
            yield synthetic_store.replace(answer, target=target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_store, "answers", measured)
        synthetic_store.fill(root, EXPERIMENT, documents=24)
    return make(collect(plan(EXPERIMENT, "miniature", results=root), root))


def test_increases_over_the_unpruned_model(uncertainty):
    u = uncertainty.resamples
    for column in fidelity_columns(u, BACKBONE):
        found = {(row.method, row.level): drawn for row, drawn in increases(u, column).items()}
        assert found["none", ""].point == 0
        assert found["tops", "88.9"].point == pytest.approx(0.35)
        assert found["text_only", ""].point == pytest.approx(3.1)
        interval = found["divprune", "94.4"].interval
        assert interval.low < 1.1 < interval.high


def test_table_and_figure(uncertainty, tmp_path):
    (table,) = [t for t in uncertainty.more if t.name == "fidelity_loss_llava-1.5-7b"]
    assert [h.title for h in table.headers] == ["MME", "TextVQA"]
    texts = {(line.label, line.section): line.data[0].text for line in table.lines}
    assert texts["Unpruned", "No budget"] == "0.000 [0.000, 0.000]"
    assert next(t for (label, _), t in texts.items() if label == "TOPS").startswith("0.350 [")
    assert "nats" in table.notes[0]
    files, pictures = write_figures(uncertainty.resamples, tmp_path)
    assert {f.name for f in files} == {f"fidelity_loss_llava-1.5-7b.{kind}" for kind in ("svg", "pdf", "png")}
    assert len(pictures) == 1
