"""What stock lmms-eval does to its host, and that our answers and scores are its own."""

import json
import subprocess
import sys
from argparse import Namespace

import pytest
from evaluation_models import cell, data, evaluate

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import DataRoot, dataset_folder
from tops.benchmarks.quiet import environment
from tops.benchmarks.tasks import stock_yaml
from tops.errors import ConfigurationError
from tops.store.store import Store

IMPORT = """
import json, os, sys, warnings
from loguru import logger
from PIL import ImageFile
seen = []
logger.add(lambda m: seen.append(str(m)), level="INFO")
open(".env", "w").write("OPENAI_API_KEY=from-dotenv\\nTOPS_TEST_DOTENV=1\\n")
filters, folder = list(warnings.filters), os.getcwd()
from tops.benchmarks.quiet import import_lmms_eval
import_lmms_eval()
logger.info("still here")
print(json.dumps([any("still here" in s for s in seen), os.environ.get("TOPS_TEST_DOTENV"),
                  warnings.filters == filters, os.getcwd() == folder, ImageFile.LOAD_TRUNCATED_IMAGES]))
"""


def test_importing_lmms_eval_leaves_the_process_alone(tmp_path):
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, None, True, True, False]


def test_stock_yaml_cannot_be_shadowed(tmp_path, monkeypatch):
    (tmp_path / "pope.yaml").write_text("task: pope")
    monkeypatch.chdir(tmp_path)
    assert "lmms_eval/tasks/pope/pope.yaml" in str(stock_yaml("pope"))
    with pytest.raises(ConfigurationError, match="no task 'popo'"):
        stock_yaml("popo")


@pytest.fixture(scope="module")
def model():
    """What ``lmms-eval --model tops`` loads, found the way lmms-eval finds it."""
    from tops.benchmarks.quiet import import_lmms_eval
    from tops.miniature import checkpoints

    import_lmms_eval()
    from lmms_eval.models import get_model

    return get_model("tops")(checkpoint=str(checkpoints.path("llava-1.5")), dtype="float32")


def stock_task(name):
    """The stock task with nothing changed but where its data lies and how much is generated."""
    from lmms_eval.api.task import ConfigurableMessagesTask
    from lmms_eval.utils import load_yaml_config

    bench, root = load_benchmark(name), DataRoot.at(data())
    config = load_yaml_config(str(stock_yaml(bench.task)), mode="full")
    config |= {
        "dataset_path": str(dataset_folder(bench, root)),
        "dataset_name": bench.data.config,
        "dataset_kwargs": {},
    }
    config["generation_kwargs"]["max_new_tokens"] = 4
    with environment(root.hf_home):
        return ConfigurableMessagesTask(config=config, model_name="tops")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pope", "mme", "scienceqa_img"])
def test_answers_and_scores_are_those_of_the_stock_task(tmp_path, model, name):
    of = cell(name, limit=2, tokens=4)
    store = Store(tmp_path, "miniature")
    evaluate(store, of, backbone=model.backbone)
    task = stock_task(name)
    split = task.config.test_split
    model.task_dict = {task.config.task: task.dataset}
    for answer in store.read(of.key).answers():
        metadata = {"task": name, "doc_id": answer.doc_id, "split": split, "repeats": 1}
        (reply,) = model.generate_until([task.construct_requests(answer.doc_id, "", metadata=metadata)])
        assert reply.text.strip() == answer.answer
        first = next(iter(task.process_results(task.dataset[split][answer.doc_id], [reply.text]).values()))
        assert answer.scores["lmms-eval"]["score"] == (first["score"] if isinstance(first, dict) else float(first))


@pytest.mark.slow
def test_answers_are_those_of_the_stock_wrapper(model):
    """The one that lmms-eval itself makes of the checkpoint, with nothing of ours inside."""
    from lmms_eval.models.chat.llava_hf import LlavaHf

    from tops.miniature import checkpoints

    stock = LlavaHf(pretrained=str(checkpoints.path("llava-1.5")), device="cpu", device_map="cpu", dtype="float32")
    for name in ("textvqa", "mmbench_cn"):
        task = stock_task(name)
        said = []
        for wrapper in (stock, model):
            wrapper.task_dict = {task.config.task: task.dataset}
            metadata = {"task": task.config.task, "split": task.config.test_split, "repeats": 1}
            requests = [task.construct_requests(i, "", metadata={**metadata, "doc_id": i}) for i in (0, 7, 50)]
            said.append([reply.text.strip() for reply in wrapper.generate_until(requests)])
        assert said[0] == said[1]
        assert any(said[0])


@pytest.mark.slow
def test_the_stock_evaluator_runs_our_model(tmp_path, model):
    from lmms_eval.evaluator import simple_evaluate

    arguments = Namespace(output_path=str(tmp_path), process_with_media=False, reasoning_tags=None)
    with environment(DataRoot.at(data()).hf_home):
        result = simple_evaluate(
            model=model, tasks=[stock_task("pope")], limit=2, bootstrap_iters=0, cli_args=arguments, batch_size=1
        )
    assert result["results"]["pope"]["pope_accuracy,none"] in (0.0, 0.5, 1.0)
    assert model.backbone.model is not None  # stock ``clean`` did not take it
