"""What the paper's own numbers say about its sentences. Each check returns the evidence and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from tops.paper.audit_budgets import published_schedules
from tops.paper.published import PublishedRow, published_rows, published_value, read_csv, text_number

_MAIN = {"11": "llava-1.5-7b", "12": "llava-next-7b", "13": "llava-1.5-13b", "14": "llava-next-13b"}
_BACKBONES = tuple((backbone, table) for table, backbone in _MAIN.items())
Check = tuple[str, bool | None]  # None: the printed numbers cannot tell


def value(table: str, backbone: str, method: str, budget: int, column: str, variant: str = "") -> Decimal:
    """A printed number that must be there."""
    found = published_value(table, backbone, method, budget, column, variant)
    assert found is not None, (table, backbone, method, budget, column, variant)
    return found


def _settings(table: str) -> Iterator[tuple[tuple[str, int], list[PublishedRow]]]:
    """Pruned rows of a table by backbone and budget."""
    groups: dict[tuple[str, int], list[PublishedRow]] = {}
    for row in published_rows(table):
        if row.method != "none":
            groups.setdefault((row.backbone, row.budget), []).append(row)
    yield from groups.items()


def _number(row: PublishedRow, column: str) -> Decimal:
    found = row.values[column]
    assert found is not None
    return found


def superior_everywhere() -> Check:
    """How often TOPS is best, cell by cell and on Acc."""
    cells, won_acc, settings = [], 0, 0
    for table in ("2", "3", "11", "12", "13", "14"):
        best = total = 0
        for _, rows in _settings(table):
            tops = next(r for r in rows if r.method == "tops")
            for column in tops.values:
                top = max(_number(r, column) for r in rows)
                if column == "acc":
                    settings += 1
                    won_acc += _number(tops, column) == top
                elif column != "rel":
                    total += 1
                    best += _number(tops, column) == top
        cells.append((table, best, total))
    shares = ", ".join(f"{best}/{total} (Table {table})" for table, best, total in cells)
    holds = all(best == total for _, best, total in cells)
    return f"best Acc in {won_acc} of {settings} settings; best or tied cell in {shares}", holds


def keeps_at_reductions() -> Check:
    """Rel of TOPS on LLaVA-NeXT at 77.8 %, and near 90 % on the 7B models."""
    places = (("llava-next-7b", 640), ("llava-next-13b", 640), ("llava-1.5-7b", 64), ("llava-next-7b", 320))
    found = [value("1", backbone, "tops", budget, "rel") for backbone, budget in places]
    text = ", ".join(f"{backbone} at {budget}: {v}" for (backbone, budget), v in zip(places, found, strict=True))
    return text, found == [Decimal(x) for x in ("100.0", "100.6", "97.1", "99.1")]


def margin_widens() -> Check:
    """Margins of TOPS over SCOPE by backbone, from the mildest to the strongest reduction."""
    parts, rising = [], []
    for backbone, table in _BACKBONES:
        budgets = sorted({r.budget for r in published_rows(table) if r.method == "tops"}, reverse=True)
        gaps = [value(table, backbone, "tops", b, "rel") - value(table, backbone, "scope", b, "rel") for b in budgets]
        rising.append(gaps == sorted(gaps))
        parts.append(f"{backbone} {', '.join(map(str, gaps))}")
    return "; ".join(parts), all(rising)


def _rel_over_scope(backbone: str, budget: int) -> Decimal:
    return value("1", backbone, "tops", budget, "rel") - value("1", backbone, "scope", budget, "rel")


def scope_margins() -> Check:
    """The four margins over SCOPE that the text names."""
    named = {
        ("llava-1.5-7b", 128): "llava15_7b_128",
        ("llava-1.5-7b", 32): "llava15_7b_32",
        ("llava-next-7b", 320): "next_7b_320",
        ("llava-next-7b", 160): "next_7b_160",
    }
    gaps = {k: _rel_over_scope(*k) for k in named}
    text = ", ".join(f"{backbone} at {budget}: {gap}" for (backbone, budget), gap in gaps.items())
    return text, all(gaps[k] == text_number(f"claim_margin_scope_{name}") for k, name in named.items())


def loss_at_64() -> Check:
    """Loss of each method at 64 tokens against the unpruned model, and of TOPS against its own 128-token row."""
    methods = ("fastv", "pdrop", "sparsevlm", "visionzip", "tops")
    rel = {m: value("11", "llava-1.5-7b", m, 64, "rel") for m in methods}
    own = value("11", "llava-1.5-7b", "tops", 128, "rel") - rel["tops"]
    text = ", ".join(f"{m} {100 - v:.1f}" for m, v in rel.items())
    claimed = text_number("claim_attention_methods_loss_at_64_over")
    holds = all(100 - rel[m] > claimed for m in methods[:-1]) and abs(100 - rel["tops"] - Decimal("1.2")) < Decimal(
        "0.1"
    )
    return f"loss against the unpruned model: {text}; TOPS from its own 128 tokens: {own:.1f}", holds


def advanced_margins() -> Check:
    """Margins of Table 2 and the best HallusionBench."""
    parts, holds = [], True
    for (backbone, budget), rows in _settings("2"):
        tops = next(r for r in rows if r.method == "tops")
        rest = [r for r in rows if r.method != "tops"]
        gap = _number(tops, "rel") - max(_number(r, "rel") for r in rest)
        best = all(_number(tops, "hallusionbench") >= _number(r, "hallusionbench") for r in rest)
        parts.append(f"{backbone} at {budget}: {gap:+.1f}{', best HallusionBench' if best else ''}")
        name = backbone.split("-")[0].split("2")[0].replace("internvl3", "internvl")
        holds &= best and gap == text_number(f"claim_margin_best_{name}_{budget}")
    return "; ".join(parts) + ", under the Acc as printed", holds


def flops_factor() -> Check:
    """Printed FLOPs of the unpruned model and of TOPS."""
    whole, tops = (value("4", "llava-next-7b", m, b, "flops_t") for m, b in (("none", 2880), ("tops", 320)))
    return f"{whole} / {tops} = {whole / tops:.2f}, but its published schedule gives x8.3", True


def efficiency() -> Check:
    """Latency and memory of Table 4."""
    rows = {r.method: r for r in published_rows("4")}
    latency = {m: _number(r, "latency_ms") for m, r in rows.items()}
    saved = _number(rows["none"], "memory_gb") - _number(rows["tops"], "memory_gb")
    speed = latency["none"] / latency["tops"]
    holds = round(speed, 2) == text_number("prefill_speedup_tops") and saved == text_number("memory_saving_tops")
    return f"{latency['none']} / {latency['tops']} ms = {speed:.2f}, {saved} GB; no decode figure is tabulated", holds


def comparable_latency() -> Check:
    """Who is faster than TOPS."""
    latency = {r.method: _number(r, "latency_ms") for r in published_rows("4") if r.method != "none"}
    faster = sorted((m for m in latency if latency[m] < latency["tops"]), key=lambda m: latency[m])
    return f"tops {latency['tops']} ms; faster: {', '.join(f'{m} {latency[m]}' for m in faster)}", not faster


def best_f1() -> Check:
    """POPE F1 at 320 tokens in Tables 4 and 12."""
    inside = max((r for r in published_rows("4") if r.method != "none"), key=lambda r: _number(r, "f1"))
    trim, tops = (value("12", "llava-next-7b", m, 320, "pope") for m in ("trim", "tops"))
    text = f"best in Table 4: {inside.method}; TRIM, left out of it, has {trim} against {tops} in Table 12"
    return text, inside.method == "tops" and tops >= trim


def dynamic_rater() -> Check:
    """Cells of Table 16 that the dynamic rater wins or ties."""
    best, lost = 0, []
    rows = published_rows("16")
    for budget in dict.fromkeys(r.budget for r in rows):
        at = {r.variant: r for r in rows if r.budget == budget}
        for column in at["rater=dynamic"].values:
            top = max(at, key=lambda v: _number(at[v], column))
            if _number(at["rater=dynamic"], column) == _number(at[top], column):
                best += 1
            else:
                lost.append(f"{column} at {budget} to {top.removeprefix('rater=')}")
    return (
        f"two budgets are shown; best or tied in {best} of {best + len(lost)} cells, loses {', '.join(lost)}",
        not lost,
    )


def weights_matter_little() -> Check:
    """Spread of Table 15 over alpha and lambda at 64 tokens, in percent of the smallest."""
    rows = [r for r in published_rows("15") if r.budget == 64]

    def spread(column: str) -> Decimal:
        found = [_number(r, column) for r in rows]
        return 100 * (max(found) / min(found) - 1)

    acc, mme, mmvet = spread("acc"), spread("mme"), spread("mmvet")
    return f"at 64 tokens Acc varies {acc:.1f} %, MME {mme:.1f} %, MM-Vet {mmvet:.1f} %", max(acc, mme, mmvet) <= 2


def optima() -> Check:
    """Settings of Table 15 with the best value of each column, where alpha or lambda leaves [0.5, 1]."""
    outside = []
    rows = published_rows("15")
    for budget in sorted({r.budget for r in rows}, reverse=True):
        at = [r for r in rows if r.budget == budget]
        for column in at[0].values:
            if column in ("acc", "rel", "pope"):
                continue
            top = max(_number(r, column) for r in at)
            best = [r.variant for r in at if _number(r, column) == top]
            if any(float(part.partition("=")[2]) > 1 for v in best for part in v.split(";")):
                outside.append(f"{column} at {budget}: {' and '.join(best)}")
    return "; ".join(outside) or "so in every column but POPE", not outside


def acc_is_a_share() -> Check:
    """Acc of the unpruned models in Table 2."""
    found = {r.backbone: _number(r, "acc") for r in published_rows("2") if r.method == "none"}
    listed = ", ".join(f"{b} {v}" for b, v in found.items())
    return f"the unpruned models have Acc {listed}; Rel is the share", all(v == 100 for v in found.values())


def linear_cost() -> Check:
    """Operations of one greedy step of Algorithms 1 and 2, counted."""
    return (
        "updating the largest similarity to the kept set is O(N) a step, but coverage sums over all tokens for "
        "every candidate: O(N^2) a step, O(K N^2) in all",
        False,
    )


def qwen_resolution() -> Check:
    """Whether 1,296 tokens for every image can come from an input that keeps its size."""
    tokens = int(text_number("qwen25vl_visual_tokens"))
    side = math.isqrt(tokens)
    if side * side != tokens:
        return f"{tokens} tokens are no square", None
    return f"{tokens} = {side} x {side}, one fixed input of {28 * side} x {28 * side} pixels", False


def mmbench_split() -> Check:
    """Test and development files give numbers of one kind."""
    return "the printed numbers cannot tell the test from the development files", None


def small_lambda() -> Check:
    """Rows with a lambda near 0.1."""
    smallest = min(float(r.variant.rpartition("=")[2]) for r in published_rows("15"))
    return f"the smallest lambda with a published row is {smallest:g}", smallest <= 0.1


def one_alpha() -> Check:
    """Values of alpha and lambda in Tables 7 and 8."""
    odd = [
        f"{r['backbone']} at {r['budget']}: alpha {r['alpha']}, lambda {r['lambda']}"
        for r in read_csv("hyperparameters.csv")
        if Decimal(r["alpha"]) != Decimal("0.5") or not Decimal("0.4") <= Decimal(r["lambda"]) <= 1
    ]
    return "; ".join(odd) or "so in all settings", not odd


def global_weights() -> Check:
    """Settings with weights of their own."""
    pairs = {(r["alpha"], r["lambda"]) for r in read_csv("hyperparameters.csv")}
    text = f"{len(pairs)} different pairs over backbones, stages and budgets; tuned on subsets of POPE, MME and GQA"
    return text, len(pairs) == 1


def seven_benchmarks() -> Check:
    """Columns that Table 17's mean goes over."""
    columns = [c for c in published_rows("17")[0].values if c not in ("acc", "rel")]
    return f"{len(columns)} columns, and the printed mean is over {len(columns)}", len(columns) == 7


def pope_split() -> Check:
    """Questions of POPE in the text and in the figures."""
    claimed, plotted = text_number("pope_questions_claimed"), text_number("fig9_samples_pope")
    return f"{claimed} questions are named, Figures 9 and 10 use {plotted}: all three splits", claimed == plotted


def internvl_tokens() -> Check:
    """Tokens of one InternVL3 tile against those counted."""
    side, tokens = int(text_number("internvl3_input_side")), int(text_number("internvl3_visual_tokens"))
    tile = (side // 14 // 2) ** 2
    return f"one {side} x {side} tile gives {tile} tokens; {tokens} is {tokens // tile} tiles", tile == tokens


def budgets_met() -> Check:
    """Layer averages of Tables 9 and 10."""
    over = sorted({round(s.over_percent, 1) for s in published_schedules() if s.table in ("9", "10")})
    return "the published schedules average " + " and ".join(f"{x:+g} %" for x in over) + " over their budgets", False


def video_rel() -> Check:
    """Table 3's Rel of TOPS, and of FastV at 16 tokens a frame."""
    found = [value("3", "llava-video-7b", "tops", b, "rel") for b in (64, 32, 16)]
    found.append(value("3", "llava-video-7b", "fastv", 16, "rel"))
    text = f"Rel {', '.join(map(str, found[:3]))}, FastV {found[3]}"
    return text, found == [Decimal(x) for x in ("98.4", "96.2", "92.3", "78.6")]


def mitigates_hallucination() -> Check:
    """TOPS against the unpruned model where hallucination is asked for."""
    parts, better = [], []
    for table, column in (("11", "pope"), ("12", "pope"), ("2", "pope"), ("2", "hallusionbench")):
        base = {r.backbone: _number(r, column) for r in published_rows(table) if r.method == "none"}
        for (backbone, budget), rows in _settings(table):
            tops = next(_number(r, column) for r in rows if r.method == "tops")
            better.append(tops > base[backbone])
            parts.append(f"{column} of {backbone} at {budget}: {tops} against {base[backbone]}")
    return f"above the unpruned model in {sum(better)} of {len(better)} settings ({'; '.join(parts)})", all(better)
