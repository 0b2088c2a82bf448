"""The sentences that the paper stands on: what its own numbers say, and which comparison of ours tests them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tops.paper import claim_checks as check
from tops.paper import propositions
from tops.paper.contrasts import Contrast, Question


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, or a question that a referee would ask.

    Attributes
    ----------
    text : str
        In our words.
    where : str
        Place in the paper; empty for a question of ours.
    published : callable or None
        Evidence from the printed numbers, and whether it bears the claim out; None: it cannot tell.
    contrasts : tuple of Contrast
        What is compared in the store; empty for statements about the text itself.
    question : str
        The same without numbers of the paper, for evidence that is not of its models; empty where the text has none.
    numerical : callable or None
        For propositions: a test of the mathematics, and whether it bears the proposition out.
    """

    name: str
    text: str
    where: str
    published: Callable[[], check.Check] | None = None
    contrasts: tuple[Contrast, ...] = ()
    question: str = ""
    numerical: Callable[[], check.Check] | None = None


_TOPS = ("tops", "")
_SUBSETS = tuple(("tops", f"criteria={s}") for s in ("R", "D", "C", "R+D", "R+C", "D+C"))
_ONE_KIND = tuple((m, "") for m in ("fastv", "pdrop", "sparsevlm", "visionzip", "divprune", "dart"))

_SCOPE = (("scope", ""),)
_NEXT = ("llava-next-7b", "llava-next-13b")
_SMALL_WEIGHTS = tuple(("tops", f"alpha={a};lambda={b}") for a in ("0.5", "1") for b in ("0.5", "1"))
_TOLERANCE = 0.5  # points, as where tables are compared with the print


def _near(
    experiment: str,
    level: str,
    printed: dict[str, float],
    rivals: tuple[tuple[str, str], ...] = (),
    *,
    ours: tuple[str, str] = _TOPS,
    measure: str = "rel",
    best: bool = False,
) -> tuple[Contrast, ...]:
    """A printed value of ours for each backbone, or its margin over rivals (``best``: over all), within tolerance."""
    question: Question = "difference" if rivals or best else "value"
    return tuple(
        Contrast(
            experiment,
            ours,
            rivals,
            measure,
            level,
            question,
            value - _TOLERANCE,
            value + _TOLERANCE,
            (backbone,),
        )
        for backbone, value in printed.items()
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "superior",
        "TOPS is superior on all models and benchmarks",
        "abstract, Figure 1b, H",
        check.superior_everywhere,
        (Contrast("table1", _TOPS), Contrast("table2", _TOPS), Contrast("table3", _TOPS)),
    ),
    Claim(
        "kept",
        "LLaVA-NeXT keeps 100.0 / 100.6 % at 77.8 %; near 90 % the 7B models keep 97.1 and 99.1 %",
        "5.2",
        check.keeps_at_reductions,
        (
            Contrast("table1", _TOPS, level="77.8", question="value", low=99.0, backbones=_NEXT),  # a margin of 1 point
            *_near("table1", "88.9", {"llava-1.5-7b": 97.1, "llava-next-7b": 99.1}),
        ),
    ),
    Claim(
        "margin",
        "The margin over SCOPE widens with compression",
        "5.2",
        check.margin_widens,
        (
            Contrast("table1", _TOPS, _SCOPE, level="88.9", question="change", mild="77.8"),
            Contrast("table1", _TOPS, _SCOPE, level="94.4", question="change", mild="88.9"),
        ),
    ),
    Claim(
        "scope-margins",
        "Rel leads SCOPE by 0.5 and 1.1 points (LLaVA-1.5-7B) and by 1.3 and 2.0 (LLaVA-NeXT-7B)",
        "5.2",
        check.scope_margins,
        (
            *_near("table1", "77.8", {"llava-1.5-7b": 0.5}, _SCOPE),
            *_near("table1", "94.4", {"llava-1.5-7b": 1.1, "llava-next-7b": 2.0}, _SCOPE),
            *_near("table1", "88.9", {"llava-next-7b": 1.3}, _SCOPE),
        ),
        "By how much does TOPS lead SCOPE?",
    ),
    Claim(
        "loss64",
        "At 64 tokens attention methods lose over 25 %, TOPS 1.2 %",
        "5.2",
        check.loss_at_64,
        (
            *(
                Contrast("table11", (m, ""), measure="loss", level="88.9", question="value", low=25.0)
                for m in ("fastv", "pdrop", "sparsevlm", "visionzip")
            ),
            *_near("table11", "88.9", {"llava-1.5-7b": 1.2}, measure="loss"),
        ),
    ),
    Claim(
        "advanced",
        "Qwen2.5-VL and InternVL3: margins 2.0, 3.3, 1.6, 5.7, best HallusionBench everywhere",
        "5.3",
        check.advanced_margins,
        (
            Contrast("table2", _TOPS),
            Contrast("table2", _TOPS, measure="hallusionbench"),
            *_near("table2", "80", {"qwen2.5-vl-7b": 2.0, "internvl3-8b": 1.6}, best=True),
            *_near("table2", "90", {"qwen2.5-vl-7b": 3.3, "internvl3-8b": 5.7}, best=True),
        ),
        "Is TOPS best on Qwen2.5-VL and InternVL3, and on HallusionBench?",
    ),
    Claim(
        "video",
        "LLaVA-Video keeps 98.4, 96.2 and 92.3 %, with FastV 78.6 % at 16 tokens a frame",
        "5.4",
        check.video_rel,
        (
            Contrast("table3", _TOPS),
            *(
                c
                for level, rel in (("62.1", 98.4), ("81.1", 96.2), ("90.5", 92.3))
                for c in _near("table3", level, {"llava-video-7b": rel})
            ),
            *_near("table3", "90.5", {"llava-video-7b": 78.6}, ours=("fastv", "")),
        ),
        "Is TOPS best on LLaVA-Video?",
    ),
    Claim(
        "flops",
        "FLOPs fall almost tenfold",
        "5.5",
        check.flops_factor,
        (Contrast("table4", _TOPS, question="flops", low=9.5, high=10.5),),
    ),
    Claim("budgets", "A retained-token number is the average over layers", "C.3, Table 9", check.budgets_met),
    Claim(
        "speed",
        "Prefill x3.12, decode x1.05, 1.9 GB less",
        "5.5",
        check.efficiency,
        (
            Contrast("table4", _TOPS, question="prefill", low=2.8, high=3.4),  # another GPU: within a tenth
            Contrast("table4", _TOPS, question="memory", low=1.7, high=2.1),
        ),
    ),
    Claim(
        "efficiency",
        "Comparable or better efficiency than other methods",
        "5.5",
        check.comparable_latency,
        (Contrast("table4", _TOPS, question="fastest", high=1.1),),
    ),
    Claim(
        "f1",
        "The best F1 among efficient methods at 320 tokens",
        "Table 4",
        check.best_f1,
        (Contrast("table4", _TOPS, measure="f1"),),
    ),
    Claim(
        "rater",
        "The dynamic rater wins consistently at three ratios",
        "5.6",
        check.dynamic_rater,
        (Contrast("table16", ("tops", "rater=dynamic"), measure="acc"),),
    ),
    Claim(
        "stages",
        "Both stages are needed",
        "Table 6",
        None,
        (Contrast("table6", ("tops", "stage=s1+s2"), measure="acc"),),
    ),
    Claim(
        "layers",
        "Cuts at layers 12 and 24 are best at one layer average",
        "Table 17",
        None,
        (Contrast("table17", ("tops", "layers=L12+L24")),),
    ),
    Claim(
        "weights",
        "Results vary 1-2 % over alpha and lambda",
        "5.6",
        check.weights_matter_little,
        tuple(Contrast("table15", _TOPS, measure=m, question="spread", high=2.0) for m in ("acc", "mme", "mmvet")),
        "By how much do results vary over alpha and lambda?",
    ),
    Claim(
        "optima",
        "The best alpha and lambda lie in [0.5, 1], but for POPE",
        "5.6",
        check.optima,
        tuple(
            Contrast("figure6", _TOPS, _SMALL_WEIGHTS, measure=m, question="optimum")
            for m in ("gqa", "scienceqa_img", "textvqa", "mme", "mmbench_en", "mmbench_cn", "mmvet")
        ),
        "Do the best alpha and lambda lie in [0.5, 1]?",
    ),
    Claim(
        "small-lambda",
        "A small lambda near 0.1 helps",
        "5.6",
        check.small_lambda,
        (Contrast("readings", ("tops", "lambda=0.1"), (("tops", "lambda=0"),), measure="acc"),),
        "Does a small weight of coverage help?",
    ),
    Claim("one-alpha", "alpha is 0.5 in all settings, lambda 0.4 to 1.0", "C.2", check.one_alpha),
    Claim("global", "alpha and lambda are global over layers and tasks", "Limitations", check.global_weights),
    Claim("seven", "Table 17 averages seven benchmarks", "Table 17", check.seven_benchmarks),
    Claim("acc-share", "Acc is a share of the unpruned model's", "caption of Table 2", check.acc_is_a_share),
    Claim("mmbench", "MMBench scores are those of its test sets", "A.2", check.mmbench_split),
    Claim("qwen", "Qwen2.5-VL runs at its default dynamic resolution", "A.1", check.qwen_resolution),
    Claim(
        "cost",
        "Selection costs O(K N) at each pruning point",
        "4",
        check.linear_cost,
        (Contrast("table4", _TOPS, question="growth", high=1.1),),
    ),
    Claim("pope", "POPE is the 3,000-question adversarial split", "A.2", check.pope_split),
    Claim("internvl", "InternVL3 at 448 x 448 has 1,280 tokens", "A.1", check.internvl_tokens),
    Claim(
        "mitigates",
        "Pruning redundant tokens can mitigate hallucination",
        "abstract",
        check.mitigates_hallucination,
        (
            *(
                Contrast("hallucination", _TOPS, measure=m, question="against unpruned")
                for m in ("pope", "hallusionbench", "mme_existence")
            ),
        ),
    ),
    Claim(
        "mild-relevance",
        "Relevance matters more at mild reduction, diversity and coverage at strong reduction",
        "5.6",
        None,
        (
            Contrast(
                "principles",
                ("tops", "criteria=D+C"),
                (("tops", "criteria=R"),),
                measure="acc",
                level="high",
                question="change",
                mild="low",
            ),
        ),
    ),
    Claim(
        "layers-differ",
        "Selections by attention at different layers hardly agree",
        "Figure 8",
        None,
        (Contrast("figure8", ("fastv", ""), question="agreement", high=0.25),),
    ),
    Claim(
        "bottom",
        "Attention inside the model favours the bottom of the image",
        "Figure 9",
        None,
        (Contrast("figure9", ("fastv", ""), question="bottom", low=0.5),),
    ),
    Claim(
        "even",
        "TOPS keeps places evenly: Gini at most 0.290, normalised entropy at least 0.975",
        "Figure 10",
        None,
        (
            Contrast("figure10", ("tops", "stage=s1+s2"), question="gini", high=0.290),
            Contrast("figure10", ("tops", "stage=s1+s2"), question="entropy", low=0.975),
        ),
    ),
    Claim(
        "submodular",
        "Coverage is monotone and submodular",
        "Proposition 1",
        numerical=propositions.coverage_is_submodular,
    ),
    Claim(
        "diminishing",
        "The diversity of a further token falls as the set grows",
        "Proposition 2",
        numerical=propositions.diversity_diminishes,
    ),
    Claim(
        "subsets",
        "Is any proper subset of relevance, diversity and coverage as good as all three?",
        "",
        None,
        (
            Contrast("table5", ("tops", "criteria=R+D+C"), _SUBSETS, question="as good"),
            Contrast("principles", ("tops", "criteria=R+D+C"), _SUBSETS, question="as good"),
        ),
    ),
    Claim(
        "falsification",
        "Does an attention-only or diversity-only method keep as much as TOPS at 77.8 %?",
        "",
        None,
        (
            Contrast(
                "falsification",
                _TOPS,
                (*_ONE_KIND, ("tops", "criteria=R"), ("tops", "criteria=D")),
                level="77.8",
                question="as good",
            ),
        ),
    ),
)
