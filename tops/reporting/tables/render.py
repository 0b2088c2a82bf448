"""One table as Markdown, CSV or LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import re

from tops.reporting.tables.table import Datum, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "±": r"$\pm$",
    "−": r"$-$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\ldots{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
}


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands; characters pdflatex cannot set become a question mark."""
    out = "".join(_LATEX.get(c, c) for c in text)
    return "".join(c if ord(c) < 0x250 else "?" for c in out)


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it stands, on one line of a table."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", " ".join(text.split()))


def markdown(table: Table) -> str:
    """GitHub-flavoured Markdown, notes below."""

    def place(datum: Datum) -> str:
        text = markdown_text(datum.full) or "–"
        note = f"<sup>{table.note_of(datum)}</sup>" if table.note_of(datum) else ""
        return (f"**{text}**" if datum.bold else text) + note

    titles = [f"{h.group} {h.title}".strip() for h in table.headers]
    out = [f"### {markdown_text(table.title)}", ""]
    out.append("| " + " | ".join(markdown_text(t) for t in (table.label_title, *titles)) + " |")
    out.append("|---|" + "---:|" * len(titles))
    for section, lines in table.sections():
        if section:
            out.append(f"| *{markdown_text(section)}* |" + " |" * len(titles))
        out += ["| " + " | ".join((markdown_text(line.label), *(place(d) for d in line.data))) + " |" for line in lines]
    out.append("")
    out += [f"- {markdown_text(note)}" for note in table.notes]
    out += [f"- <sup>{mark}</sup> {markdown_text(text)}" for mark, text in table.lettered]
    return "\n".join(out) + "\n"


def plain(table: Table) -> str:
    """Columns for a terminal; notes below."""
    titles = [f"{h.group} {h.title}".strip() for h in table.headers]
    lines: list[list[str]] = [[table.label_title, *titles]]
    for section, members in table.sections():
        lines += [[f"[{section}]"], *([line.label, *(d.text or "-" for d in line.data)] for line in members)]
    body = [line for line in lines if len(line) > 1]
    widths = [max(len(line[i]) for line in body) for i in range(len(titles) + 1)]
    shown = [
        line[0] if len(line) == 1 else "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    ]
    return "\n".join([table.title, "", *shown])


def as_csv(table: Table) -> str:
    """Tidy CSV with unrounded numbers; a hole is empty and its reason stands in the last column.

    A column of intervals has its ends in two more, ``... lower`` and ``... upper``.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    titles = [f"{h.group} {h.title}".strip() for h in table.headers]
    spans = [any(line.data[i].low is not None for line in table.lines) for i in range(len(titles))]
    ends = [end for title, span in zip(titles, spans, strict=True) if span for end in _ends(title)]
    writer.writerow(["table", "section", table.label_title.lower(), "role", *titles, *ends, "notes"])
    for line in table.lines:
        values = [_value(d, span) for d, span in zip(line.data, spans, strict=True)]
        values += [
            "" if end is None else repr(round(end, 6))
            for d, span in zip(line.data, spans, strict=True)
            if span
            for end in (d.low, d.high)
        ]
        notes = [f"{t}: {d.reason or d.mark}" for t, d in zip(titles, line.data, strict=True) if d.reason or d.mark]
        row = [table.name, line.section, line.label, line.role, *values, "; ".join(notes)]
        writer.writerow([_inert(v) for v in row])
    return buffer.getvalue()


def _ends(title: str) -> tuple[str, str]:
    """``Rel difference [95 %]`` has ``Rel difference lower`` and ``Rel difference upper``."""
    plain = re.sub(r"\s*(\[95 %\]|95 % interval|95 % of ranks)", "", title).strip()
    what = "rank" if "ranks" in title else ""
    name = " ".join(part for part in (plain, what) if part)
    return f"{name} lower".strip(), f"{name} upper".strip()


def _value(datum: Datum, span: bool) -> str:
    if datum.value is not None:
        return repr(round(datum.value, 6))
    return "" if span else datum.text  # the columns of its ends have the numbers


def _inert(text: str) -> str:
    """Text that a spreadsheet does not run as a formula; signed numbers stay numbers."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", text):
        return "'" + text
    return text


def latex(table: Table) -> str:
    """A booktabs table: needs ``\\usepackage{booktabs}`` and ``\\usepackage{graphicx}``."""

    def place(datum: Datum) -> str:
        text = latex_text(datum.full) or "--"
        note = f"\\textsuperscript{{{table.note_of(datum)}}}" if table.note_of(datum) else ""
        return (f"\\textbf{{{text}}}" if datum.bold else text) + note

    width = len(table.headers)
    out = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{latex_text(table.title)}}}",
        f"\\label{{tab:{re.sub(r'[^a-z0-9]+', '-', table.name)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
    ]
    if table.spans:
        spans, rules, at = [], [], 2
        for group, n in table.spans:
            spans.append(f"\\multicolumn{{{n}}}{{c}}{{{latex_text(group)}}}")
            rules.append(f"\\cmidrule(lr){{{at}-{at + n - 1}}}" if group else "")
            at += n
        out += [" & " + " & ".join(spans) + r" \\", "".join(rules)]
    out.append(" & ".join(latex_text(t) for t in (table.label_title, *(h.title for h in table.headers))) + r" \\")
    for section, lines in table.sections():
        out.append(r"\midrule")
        if section:
            out.append(f"\\multicolumn{{{width + 1}}}{{l}}{{\\textit{{{latex_text(section)}}}}} \\\\")
        out += [" & ".join((latex_text(line.label), *(place(d) for d in line.data))) + r" \\" for line in lines]
    out += [r"\bottomrule", r"\end{tabular}}"]
    notes = [latex_text(n) for n in table.notes]
    notes += [f"\\textsuperscript{{{mark}}}\\,{latex_text(t)}" for mark, t in table.lettered]
    if notes:
        out += [r"\par\smallskip\footnotesize\raggedright", *(note + r"\par" for note in notes)]
    out.append(r"\end{table}")
    return "\n".join(out) + "\n"
