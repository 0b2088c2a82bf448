"""The sentences that the paper stands on: what its own numbers say, and which comparison of ours tests them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tops.paper import claim_checks as check

Question = Literal["better", "as good"]


@dataclass(frozen=True)
class Contrast:
    """A comparison of stored rows, at every backbone and budget of an experiment.

    Attributes
    ----------
    experiment : str
        Name under ``configs/experiment``.
    ours : tuple of str
        Method and variant.
    rivals : tuple of tuple
        Methods and variants; empty: every other method of the experiment.
    measure : str
        ``rel``, ``acc`` or a column.
    level : str
        Only this level; empty for all.
    question : str
        ``better``: ours is claimed to beat the best rival. ``as good``: is any rival as good as ours?
    """

    experiment: str
    ours: tuple[str, str]
    rivals: tuple[tuple[str, str], ...] = ()
    measure: str = "rel"
    level: str = ""
    question: Question = "better"


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
        What is compared in the store.
    """

    name: str
    text: str
    where: str
    published: Callable[[], check.Check] | None = None
    contrasts: tuple[Contrast, ...] = ()


_TOPS = ("tops", "")
_SUBSETS = tuple(("tops", f"criteria={s}") for s in ("R", "D", "C", "R+D", "R+C", "D+C"))
_ONE_KIND = tuple((m, "") for m in ("fastv", "pdrop", "sparsevlm", "visionzip", "divprune", "dart"))

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
    ),
    Claim(
        "margin",
        "The margin over SCOPE widens with compression",
        "5.2",
        check.margin_widens,
        (Contrast("table1", _TOPS, (("scope", ""),)),),
    ),
    Claim(
        "scope-margins",
        "Rel leads SCOPE by 0.5 and 1.1 points (LLaVA-1.5-7B) and by 1.3 and 2.0 (LLaVA-NeXT-7B)",
        "5.2",
        check.scope_margins,
    ),
    Claim(
        "loss64",
        "At 64 tokens attention methods lose over 25 %, TOPS 1.2 %",
        "5.2",
        check.loss_at_64,
        (
            Contrast(
                "table11", _TOPS, tuple((m, "") for m in ("fastv", "pdrop", "sparsevlm", "visionzip")), level="88.9"
            ),
        ),
    ),
    Claim(
        "advanced",
        "Qwen2.5-VL and InternVL3: margins 2.0, 3.3, 1.6, 5.7, best HallusionBench everywhere",
        "5.3",
        check.advanced_margins,
        (Contrast("table2", _TOPS), Contrast("table2", _TOPS, measure="hallusionbench")),
    ),
    Claim(
        "video",
        "LLaVA-Video keeps 98.4, 96.2 and 92.3 %, with FastV 78.6 % at 16 tokens a frame",
        "5.4",
        check.video_rel,
        (Contrast("table3", _TOPS),),
    ),
    Claim("flops", "FLOPs fall almost tenfold", "5.5", check.flops_factor),
    Claim("budgets", "A retained-token number is the average over layers", "C.3, Table 9", check.budgets_met),
    Claim("speed", "Prefill x3.12, decode x1.05, 1.9 GB less", "5.5", check.efficiency),
    Claim("efficiency", "Comparable or better efficiency than other methods", "5.5", check.comparable_latency),
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
    Claim("weights", "Results vary 1-2 % over alpha and lambda", "5.6", check.weights_matter_little),
    Claim("optima", "The best alpha and lambda lie in [0.5, 1], but for POPE", "5.6", check.optima),
    Claim("small-lambda", "A small lambda near 0.1 helps", "5.6", check.small_lambda),
    Claim("one-alpha", "alpha is 0.5 in all settings, lambda 0.4 to 1.0", "C.2", check.one_alpha),
    Claim("global", "alpha and lambda are global over layers and tasks", "Limitations", check.global_weights),
    Claim("seven", "Table 17 averages seven benchmarks", "Table 17", check.seven_benchmarks),
    Claim("acc-share", "Acc is a share of the unpruned model's", "caption of Table 2", check.acc_is_a_share),
    Claim("mmbench", "MMBench scores are those of its test sets", "A.2", check.mmbench_split),
    Claim("qwen", "Qwen2.5-VL runs at its default dynamic resolution", "A.1", check.qwen_resolution),
    Claim("cost", "Selection costs O(K N) at each pruning point", "4", check.linear_cost),
    Claim("pope", "POPE is the 3,000-question adversarial split", "A.2", check.pope_split),
    Claim("internvl", "InternVL3 at 448 x 448 has 1,280 tokens", "A.1", check.internvl_tokens),
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
