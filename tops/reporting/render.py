"""One table as Markdown, CSV, LaTeX (booktabs) or HTML."""

from __future__ import annotations

import csv
import io
import re
from html import escape
from itertools import groupby

from tops.reporting.table import Datum, Table, letter

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
        text = markdown_text(datum.text) or "–"
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
    out += [f"- <sup>{letter(i)}</sup> {markdown_text(text)}" for i, text in enumerate(table.footnotes)]
    return "\n".join(out) + "\n"


def as_csv(table: Table) -> str:
    """CSV with unrounded numbers; a hole is empty and its reason stands in the last column."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    titles = [f"{h.group} {h.title}".strip() for h in table.headers]
    writer.writerow(["title", "section", table.label_title.lower(), "role", *titles, "notes"])
    for line in table.lines:
        values = [d.text if d.value is None else repr(round(d.value, 6)) for d in line.data]
        notes = [f"{t}: {d.reason or d.mark}" for t, d in zip(titles, line.data, strict=True) if d.reason or d.mark]
        row = [table.title, line.section, line.label, line.role, *values, "; ".join(notes)]
        writer.writerow([_inert(v) for v in row])
    return buffer.getvalue()


def _inert(text: str) -> str:
    """A spreadsheet must not run a cell as a formula; signed numbers stay numbers."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", text):
        return "'" + text
    return text


def latex(table: Table) -> str:
    """A booktabs table: needs ``\\usepackage{booktabs}`` and ``\\usepackage{graphicx}``."""

    def place(datum: Datum) -> str:
        text = latex_text(datum.text) or "--"
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
    if any(h.group for h in table.headers):
        spans, rules, at = [], [], 2
        for group, members in groupby(table.headers, key=lambda h: h.group):
            n = len(list(members))
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
    notes += [f"\\textsuperscript{{{letter(i)}}}\\,{latex_text(t)}" for i, t in enumerate(table.footnotes)]
    if notes:
        out += [r"\par\smallskip\footnotesize\raggedright", *(note + r"\par" for note in notes)]
    out.append(r"\end{table}")
    return "\n".join(out) + "\n"


def html(table: Table) -> str:
    """A fragment of HTML made by great_tables, everything escaped."""
    import pandas as pd
    from great_tables import GT, loc, style
    from great_tables import html as raw

    keys = [f"c{i}" for i in range(len(table.headers))]
    frame = pd.DataFrame(
        [
            [escape(line.section), escape(line.label)] + [_html_place(table, d) for d in line.data]
            for line in table.lines
        ],
        columns=["section", "label", *keys],
    )
    many = any(line.section for line in table.lines)
    if not many:
        frame = frame.drop(columns="section")
    gt = GT(frame, rowname_col="label", groupname_col="section" if many else None)
    gt = gt.tab_header(title=raw(escape(table.title))).tab_stubhead(label=raw(escape(table.label_title)))
    gt = gt.cols_label({k: raw(escape(h.title)) for k, h in zip(keys, table.headers, strict=True)})
    gt = gt.cols_align("right", columns=keys)
    at = 0
    for group, members in groupby(table.headers, key=lambda h: h.group):
        n = len(list(members))
        if group:
            gt = gt.tab_spanner(label=raw(escape(group)), columns=keys[at : at + n], id=f"span{at}")
        at += n
    bold = [(i, k) for i, line in enumerate(table.lines) for k, d in zip(keys, line.data, strict=True) if d.bold]
    for i, key in bold:
        gt = gt.tab_style(style=style.text(weight="bold"), locations=loc.body(columns=key, rows=[i]))
    for note in table.notes:
        gt = gt.tab_source_note(raw(escape(note)))
    for i, reason in enumerate(table.footnotes):
        gt = gt.tab_source_note(raw(f"<sup>{letter(i)}</sup> {escape(reason)}"))
    fragment: str = gt.as_raw_html()
    return fragment


def _html_place(table: Table, datum: Datum) -> str:
    note = table.note_of(datum)
    return (escape(datum.text) or "–") + (f"<sup>{note}</sup>" if note else "")
