"""Run in a process of its own: load stock tasks from a mirror with the network shut, answer them perfectly, print JSON.

usage: stock_tasks.py OUTPUT_FOLDER TASK...   (working directory: the mirror; HF_HOME set)
"""

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace


class LocalSocket(socket.socket):
    """A socket that reaches other processes of this machine only."""

    def connect(self, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError(f"the network is shut in this test: {address}")
        super().connect(address)  # type: ignore[arg-type]


socket.socket = LocalSocket  # type: ignore[misc]

import lmms_eval  # noqa: E402
import lmms_eval.api.metrics  # noqa: E402
import lmms_eval.filters  # noqa: E402
from lmms_eval.api.task import ConfigurableMessagesTask  # noqa: E402
from lmms_eval.utils import load_yaml_config  # noqa: E402

TASKS = Path(lmms_eval.__file__).parent / "tasks"


def perfect(name: str, doc: dict, target: object) -> str:
    """The reply of a model that is always right."""
    if name.startswith("hallusion"):
        return "Yes" if doc["gt_answer"] == "1" else "No"
    if name.startswith("textvqa"):
        return doc["answers"][0]
    if name == "ocrbench":
        return f"It says {doc['answer'][0]}."
    if name.startswith("refcoco"):
        return f"[{', '.join(f'{v:.4f}' for v in doc['bbox'])}]"
    if name.startswith("longvideobench"):
        return "ABCDE"[doc["correct_choice"]]
    return str(target)


def main(out: Path, names: list[str]) -> None:
    report = {}
    for name in names:
        yaml = next(TASKS.glob(f"*/{name}.yaml"))
        task = ConfigurableMessagesTask(config=load_yaml_config(str(yaml), mode="full"), model_name="plain")
        docs = task.eval_docs
        texts = [task.doc_to_text(doc) for doc in docs]
        visuals = [task.doc_to_visual(docs[i]) for i in (0, len(docs) - 1)]
        entry = {"documents": len(docs), "text": texts[0], "visuals": [[str(v) for v in found] for found in visuals]}
        if not name.startswith("mmvet"):
            results: dict[str, list] = {}
            for doc in task.dataset_no_image[task.config.test_split]:
                reply = perfect(name, doc, task.doc_to_target(doc))
                for metric, value in task.process_results(dict(doc), [reply]).items():
                    results.setdefault(metric, []).append(value)
            entry["scores"] = scores(name, task, results, out)
        report[name] = entry
    print("REPORT " + json.dumps(report))


def scores(name: str, task: ConfigurableMessagesTask, results: dict, out: Path) -> dict:
    """Stock aggregation of each metric, but for those that write submissions or ask a judge."""
    if name.startswith("hallusion"):
        from lmms_eval.tasks.hallusion_bench.evaluate_hb import hb_aggregation_result_intern

        return {metric: hb_aggregation_result_intern(found, metric) for metric, found in results.items()}
    found = {}
    for metric, values in results.items():
        if metric == "submission":
            continue
        aggregate = task.aggregation()[metric]
        try:
            found[metric] = aggregate(values)
        except TypeError:
            found[metric] = aggregate(values, SimpleNamespace(output_path=str(out)))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
