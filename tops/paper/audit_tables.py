"""Does every printed Acc, Rel and repeated row follow from the printed cells?"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations

from tops.paper.aggregation import AccRule, printed_rule, proper_rule, round_half_up
from tops.paper.findings import Finding, Verdict
from tops.paper.published import TABLES, PublishedRow, published_rows, published_value, read_csv

_HALF = Decimal("0.05")  # half a unit of the last printed digit
_DERIVED = ("acc", "rel", "tokens", "flops_t", "flops_x", "latency_ms", "memory_gb", "f1")
_MAIN_OF = {"llava-1.5-7b": "11", "llava-next-7b": "12", "llava-1.5-13b": "13", "llava-next-13b": "14"}
# Rows of different tables that the text describes as the same run.
_SAME_RUN = (
    (("5", "criteria=R+D+C", 32), ("11", "", 32)),
    (("5", "criteria=R+D+C", 32), ("15", "alpha=0.5;lambda=1", 32)),
    (("15", "alpha=0.5;lambda=1", 32), ("11", "", 32)),
    (("15", "alpha=0.5;lambda=1", 64), ("11", "", 64)),
    (("6", "stage=s1+s2", 128), ("11", "", 128)),
    (("6", "stage=s1+s2", 128), ("17", "layers=L12+L24", 128)),
    (("17", "layers=L12+L24", 128), ("11", "", 128)),
    (("16", "rater=dynamic", 128), ("11", "", 128)),
    (("16", "rater=dynamic", 64), ("11", "", 64)),
)


def _cells(row: PublishedRow) -> dict[str, Decimal]:
    return {name: value for name, value in row.values.items() if value is not None}


def recomputed_acc(row: PublishedRow, rule: AccRule) -> Decimal:
    """Acc of a printed row under a rule, unrounded."""
    return rule.acc(_cells(row))


def baseline_row(table: str, backbone: str) -> PublishedRow:
    """The unpruned row that a table's Rel refers to (Table 11's for the ablations)."""
    rows = published_rows(table if table in ("2", "3") else _MAIN_OF[backbone])
    return next(row for row in rows if row.method == "none" and row.backbone == backbone)


def acc_findings() -> Iterator[Finding]:
    """Acc of each table against its rule; each row that misses it by more than half a digit."""
    for table in TABLES:
        rows = [row for row in published_rows(table) if "acc" in row.values]
        if not rows:
            continue
        rule, exact, misses = printed_rule(table), 0, []
        # Inputs are rounded to 0.05 themselves, and each enters the mean divided.
        slack = sum((_HALF / d for d in rule.divisors.values()), Decimal(0)) / len(rule.divisors)
        for row in rows:
            acc, printed = recomputed_acc(row, rule), _cells(row)["acc"]
            exact += round_half_up(acc) == printed
            off = abs(acc - printed)
            if off > _HALF:
                verdict: Verdict = "contradiction" if off > _HALF + slack else "rounding"
                misses.append(Finding("Acc", f"Table {table}: {row.label}", str(printed), f"{acc:.3f}", verdict))
        whole: Verdict = "agrees" if exact == len(rows) else "rounding"
        yield Finding("Acc rule", f"Table {table}", rule.text, f"{exact} of {len(rows)} rows to the digit", whole)
        yield from misses


def rel_findings() -> Iterator[Finding]:
    """Rel against printed Acc / printed baseline Acc, and how far rounding twice moves it."""
    worst = Decimal(0)
    for table in TABLES:
        for row in published_rows(table):
            cells = _cells(row)
            if "rel" not in cells or "acc" not in cells:
                continue
            base = baseline_row(table, row.backbone)
            twice = 100 * cells["acc"] / _cells(base)["acc"]
            rule = printed_rule(table)
            once = 100 * recomputed_acc(row, rule) / recomputed_acc(base, rule)
            if abs(recomputed_acc(row, rule) - cells["acc"]) <= _HALF * 2:
                worst = max(worst, abs(once - cells["rel"]))
            if round_half_up(twice) != cells["rel"]:
                verdict: Verdict = "rounding" if abs(twice - cells["rel"]) <= Decimal("0.1") else "contradiction"
                yield Finding("Rel", f"Table {table}: {row.label}", str(cells["rel"]), f"{twice:.2f}", verdict)
    yield Finding(
        "Rel rule",
        "all tables",
        "printed Acc / printed baseline Acc, both already rounded",
        f"moves Rel by up to {worst:.2f}",
        "rounding",
    )


def table2_findings() -> Iterator[Finding]:
    """Table 2 counts POPE a tenth and the 2,800-point MME as if it had 2,000: what the proper mean gives."""
    yield from _divisors()
    base = baseline_row("2", "qwen2.5-vl-7b")
    yield Finding(
        "Table 2 scaling",
        "MME / 20 and POPE / 10",
        "every benchmark on a 0-100 scale",
        f"the unpruned MME counts {_cells(base)['mme'] / 20:.0f} of 100, POPE {_cells(base)['pope'] / 10:.1f}",
        "contradiction",
    )
    settings = dict.fromkeys((r.backbone, r.budget) for r in published_rows("2") if r.method != "none")
    for backbone, budget in settings:
        rows = [r for r in published_rows("2") if (r.backbone, r.budget) == (backbone, budget)]
        base = baseline_row("2", backbone)
        rule = proper_rule("2")
        proper = {r.method: 100 * recomputed_acc(r, rule) / recomputed_acc(base, rule) for r in rows}
        printed = {r.method: _cells(r)["rel"] for r in rows}
        yield Finding(
            "Table 2 proper mean",
            f"{backbone} at {budget}",
            _ranking(printed),
            _ranking(proper),
            "agrees" if max(proper, key=lambda m: proper[m]) == "tops" else "contradiction",
        )


def _divisors() -> Iterator[Finding]:
    """How far each pair of divisors of MME and POPE misses the printed Acc; (20, 10) alone fits every row."""
    rows = [_cells(r) for r in published_rows("2")]
    plain = [n for n in printed_rule("2").divisors if n not in ("mme", "pope")]

    def off(mme: int | None, pope: int) -> Decimal:
        def acc(cells: dict[str, Decimal]) -> Decimal:
            terms = [*(cells[n] for n in plain), cells["pope"] / pope, *([cells["mme"] / mme] if mme else [])]
            return sum(terms, Decimal(0)) / len(terms)

        return max(abs(acc(cells) - cells["acc"]) for cells in rows)

    fits = sorted((off(mme, pope), mme, pope) for mme in range(15, 41) for pope in range(1, 41))
    (best, mme, pope), (following, *_) = fits[:2]
    yield Finding(
        "Table 2 rule",
        "every pair of divisors, MME 15 to 40 and POPE 1 to 40",
        "Acc of 20 rows",
        f"MME / {mme} and POPE / {pope} misses by {best:.3f} at most, the next pair by {following:.3f}",
        "agrees" if best <= _HALF < following else "rounding",
    )
    others = (("MME / 28, POPE as is", 28), ("MME / 20, POPE as is", 20), ("mean of 7 without MME", None))
    for name, divisor in others:
        yield Finding("Table 2 rule", name, "Acc of 20 rows", f"rejected: off by up to {off(divisor, 1):.1f}", "agrees")


def _ranking(rel: dict[str, Decimal]) -> str:
    rest = {m: v for m, v in rel.items() if m != "tops"}
    second = max(rest.values())
    names = " and ".join(m for m, v in rest.items() if v == second)
    return f"tops {rel['tops']:.1f}, {names} {second:.1f} ({rel['tops'] - second:+.1f})"


def cross_table_findings() -> Iterator[Finding]:
    """Numbers that the paper prints twice."""
    same = differing = 0
    for row in published_rows("1"):
        rel = published_value(_MAIN_OF[row.backbone], row.backbone, row.method, row.budget, "rel")
        same += rel == row.values["rel"]
        differing += rel != row.values["rel"]
    total = same + differing
    yield Finding(
        "Repeated rows",
        "Table 1 against Tables 11-14",
        f"{total} cells",
        f"{same} agree",
        "contradiction" if differing else "agrees",
    )

    def cells(key: tuple[str, str, int]) -> dict[str, Decimal]:
        table, variant, budget = key
        rows = [
            r
            for r in published_rows(table)
            if (r.backbone, r.method, r.variant, r.budget) == ("llava-1.5-7b", "tops", variant, budget)
        ]
        return _cells(rows[0])

    for a, b in _SAME_RUN:
        left, right = cells(a), cells(b)
        where = f"Table {a[0]} {a[1]} against Table {b[0]} {b[1]} at {a[2]}".replace("  ", " ")
        differ = [(n, left[n], right[n]) for n in left if n in right and left[n] != right[n]]
        for name, x, y in differ:
            yield Finding("Repeated rows", where, f"{name} {x}", f"{name} {y}", "contradiction")
        if not differ:
            yield Finding("Repeated rows", where, "same run", "same numbers", "agrees")
    yield _two_schedules()
    yield from _copies()
    for row in published_rows("4"):
        f1, pope = row.values["f1"], published_value("12", row.backbone, row.method, row.budget, "pope")
        if f1 == pope:
            continue
        source = [r.budget for r in published_rows("12") if r.method == row.method and r.values["pope"] == f1]
        yield Finding(
            "Repeated rows",
            f"Table 4 F1 against Table 12 POPE: {row.label}",
            str(f1),
            f"{pope}; {f1} is its value at {' and '.join(map(str, source)) or 'no'} tokens",
            "contradiction",
        )


def _two_schedules() -> Finding:
    """Tables 9 and 17 both call a schedule TOPS's own at 128 tokens."""

    def printed(table: str) -> str:
        place = (table, "llava-1.5-7b", "128", "12;24")
        columns = ("table", "backbone", "target", "stage2_layers")
        line = next(x for x in read_csv("schedules.csv") if tuple(x[c] for c in columns) == place)
        return f"{line['stage1_budget']}>{line['stage2_budgets'].replace(';', '>')}"

    both = printed("9"), printed("17")
    return Finding(
        "Repeated rows",
        "Table 9 against Table 17: the schedule of TOPS on llava-1.5-7b at 128",
        both[0],
        f"{both[1]}, with the scores of Table 11",
        "agrees" if both[0] == both[1] else "contradiction",
    )


def _copies() -> Iterator[Finding]:
    """Rows of different settings that share four or more benchmark cells."""
    known = {frozenset(pair) for pair in _SAME_RUN}
    rows = [r for t in TABLES for r in published_rows(t) if r.method != "none"]
    for a, b in combinations(rows, 2):
        if (a.backbone, a.method) != (b.backbone, b.method):
            continue
        pair = frozenset(((a.table, a.variant, a.budget), (b.table, b.variant, b.budget)))
        shared = [n for n, v in a.values.items() if n not in _DERIVED and v is not None and b.values.get(n) == v]
        if len(shared) >= 4 and pair not in known:
            yield Finding(
                "Suspicious copies",
                f"Table {a.table} {a.variant} and Table {b.table} {b.variant} at {b.budget}".replace("  ", " "),
                "different settings",
                f"share {', '.join(shared)}",
                "contradiction",
            )
