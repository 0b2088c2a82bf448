"""The words of a report and what they mean, one place for the page's hints and its glossary."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "Rel": "Acc of the pruned model in percent of the unpruned model's Acc, on the same benchmarks.",
    "Acc": "Mean score over benchmarks, each on a scale of 0 to 100; the rule of the mean is below the table.",
    "budget": "How many visual tokens a method may use, per image or frame.",
    "level": "A budget under the name that the paper's tables give it, such as ↓ 77.8 % of the tokens dropped.",
    "tokens": "Visual tokens that a layer of the language model sees, mean over its layers, as logged while it ran.",
    "protocol": "What a budget counts: the mean over layers (layer_average), the paper's own schedule (as_printed), or "
    "the tokens left after the cut (kept).",
    "control": "A row that no method should lose to: random or evenly spaced tokens, a smaller picture, no picture.",
    "95 % interval": "Range that would hold the true value in 95 of 100 repetitions with other documents. "
    "Documents that share a picture form one cluster.",
    "beyond chance": "The p-value of the paired difference, corrected for all comparisons of the table, is below 0.05.",
    "unread": "Answers in which the scorer found no yes, no, letter or number. They count as wrong.",
    "gained, lost": "Documents that pruning turned from wrong to right, and from right to wrong.",
    "cell": "One backbone with one method, budget and benchmark: the unit that is run and stored.",
    "stage": "Where tokens are cut: Stage I before the language model, Stage II inside it.",
    "place": "One number of a table. A place without a number says why.",
}
# Column titles that are another spelling of a term.
_ALIASES = {"Rel (%)": "Rel", "unread %": "unread", "gained %": "gained, lost", "lost %": "gained, lost"}


def hint(title: str) -> str:
    """Definition for a column title; empty where the title speaks for itself."""
    return TERMS.get(_ALIASES.get(title, title), "")
