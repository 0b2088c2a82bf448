import pytest

from tops.benchmarks.benchmark import load_suite
from tops.benchmarks.data import DataRoot
from tops.errors import ConfigurationError
from tops.miniature.data import ensure
from tops.planning import doctor, staging


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing staged."""
    for name in ("TOPS_DATA", "TOPS_CACHE", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("TOPS_JUDGE_URL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    staging.data_root.cache_clear()
    yield {f.topic: f for f in doctor.examine("paper")}
    staging.data_root.cache_clear()


def test_everything_missing_is_named_with_its_command(bare):
    assert bare["python"].state == "ok"
    assert "0.7.3" in bare["lmms_eval"].text
    assert bare["llava-1.5-7b"].state == "missing"
    assert "tops fetch backbone=llava-1.5-7b" in bare["llava-1.5-7b"].text
    assert "17.6 GB of GPU memory" in bare["llava-1.5-7b"].text
    assert "tops fetch suite=yes_no" in bare["suite yes_no"].text
    assert "368.0 GB" in bare["suite video"].text
    assert "offline" in bare["network"].text
    assert bare["judge"].state == "warning"
    assert "no backbone is ready; no benchmark is staged" in doctor.summary(list(bare.values()), "paper")


def test_what_can_run_is_said_in_one_line():
    ensure()
    miniature = doctor.examine("miniature")
    assert "can run 7 of 7 backbones" in doctor.summary(miniature, "miniature")
    assert any("without a judge MM-Vet ends answered, with no number" in f.text for f in miniature)
    (ocr,) = [f.text for f in miniature if f.topic == "suite ocr"]
    assert "all 3 benchmarks are staged" in ocr
    assert "docvqa, infovqa left out: no miniature documents" in ocr


def test_a_miniature_that_is_not_built_yet_can_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPS_CACHE", str(tmp_path))
    staging.data_root.cache_clear()
    found = doctor.examine("miniature")
    staging.data_root.cache_clear()
    assert {f.state for f in found if f.topic.startswith("suite")} == {"ok"}
    assert "can run 7 of 7 backbones" in doctor.summary(found, "miniature")
    assert not list(tmp_path.iterdir())


def test_one_command_for_checkpoints_and_data_has_its_sizes(bare):
    text = bare["table1"].text
    assert text.startswith("`tops fetch experiment=table1`: about 81.6 GB of checkpoints (")
    assert "3.0 GB of data (" in text
    assert text.endswith("the same command goes on")


def test_a_download_that_does_not_fit_is_told(bare, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: doctor.shutil._ntuple_diskusage(2, 1, 10**9))
    assert "(about 371.4 GB, but 1.0 GB are free)" in doctor._room(load_suite("all"), DataRoot.at())


def test_a_driver_without_cuda_in_torch(monkeypatch):
    from tops.settings.choices import load_profile

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor, "gpu_count", lambda: 2)
    (finding,) = doctor._gpus(load_profile("paper"))
    assert finding.state == "missing"
    assert "the driver shows 2" in finding.text


def test_other_lmms_eval_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "0.9.9")
    found = {f.topic: f for f in doctor._installation()}
    assert found["lmms_eval"].state == "warning"
    assert "0.7.3" in found["lmms_eval"].text


def test_a_judge_that_is_not_there():
    finding = doctor._judge("http://127.0.0.1:9/v1")
    assert finding.state == "missing"
    assert "no judge at" in finding.text


def test_a_partly_staged_suite_says_what_would_run(tmp_path, monkeypatch):
    from tops.planning import staging
    from tops.settings.choices import load_profile

    folder = tmp_path / "mirror" / "lmms-lab-encoder" / "POPE" / "data"
    folder.mkdir(parents=True)
    (folder / "test.parquet").write_bytes(b"x")
    monkeypatch.setenv("TOPS_DATA", str(tmp_path))
    staging.data_root.cache_clear()
    found = {f.topic: f for f in doctor._suites(load_profile("paper"), judged=True)}
    staging.data_root.cache_clear()
    assert found["suite yes_no"].text.startswith("would run pope; missing mme, hallusionbench")


def test_unknown_profile():
    with pytest.raises(ConfigurationError, match="Did you mean 'miniature'"):
        doctor.examine("minature")
