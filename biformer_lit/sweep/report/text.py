"""The report as Markdown, and the main table for LaTeX."""

import pandas as pd

from biformer_lit.sweep.report.answer import Answer
from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.reproduce import Reproduction
from biformer_lit.sweep.report.unit import shown
from biformer_lit.sweep.spec.quantities import of_table
from biformer_lit.text.escaping import for_latex, for_markdown


def main_table(content: Content) -> pd.DataFrame:
    """The main table as it is read: texts, a row for each cell."""
    unit, rows = content.unit, []
    for row in content.table.to_dict("records"):
        sd = unit.number(row["sd"])
        interval = unit.interval(row["low"], row["high"])
        difference = " ".join(part for part in (unit.signed(row["difference"]), interval) if part)
        rows.append({
            "cell": row["cell"],
            unit.title: unit.number(row["mean"]) + (f" ± {sd}" if sd else ""),
            "n": f"{row['complete']}/{row['planned']}",
            "difference": difference,
            "claim": "" if pd.isna(row["claim"]) else row["claim"],
            **{quantity.title: shown(quantity, row[quantity.name]) for quantity in of_table("cells")},
            "not complete": "" if pd.isna(row["problems"]) else row["problems"],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table if table["not complete"].any() else table.drop(columns="not complete")


def latex_table(content: Content) -> str:
    """The main table for LaTeX with the booktabs package."""
    table = main_table(content)
    escaped = table.map(for_latex).rename(columns=for_latex)
    numbers = {unit for unit in escaped.columns if unit not in ("cell", "claim", "not complete")}
    columns = "".join("r" if name in numbers else "l" for name in escaped.columns)
    body: str = escaped.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    return f"% \\usepackage{{booktabs}}\n{body}"


def markdown(content: Content, said: Answer, figures: dict[str, str], repeat: Reproduction) -> str:
    """The report as Markdown.

    Args:
        content: The study.
        said: Its answer.
        figures: Name in the folder ``figures`` to what the figure shows.
        repeat: What one needs to repeat it.
    """
    complete, planned, incomplete = content.counts
    table = main_table(content)
    lines = [f"# {for_markdown(content.spec.question)}", "", f"**{for_markdown(said.sentence)}**", ""]
    lines += [f"{for_markdown(note)}\n" for note in said.notes]
    lines += [f"Study {for_markdown(content.spec.name)}, {complete} of {planned} trials complete.", "", grid(table)]
    level = f"{100 * content.table['confidence'].iloc[0]:g} %"
    notes = (
        "± standard deviation over seeds; n: complete/planned trials; difference to the baseline over paired seeds "
        f"with its {level} t interval, for each cell alone."
    )
    lines += ["", notes, ""]
    if incomplete:
        lines += ["## Not complete", "", *(f"- {for_markdown(line)}" for line in incomplete), ""]
    for name, title in figures.items():
        lines += [f"![{for_markdown(title)}](figures/{name}.png)", "", f"*{for_markdown(title)}*", ""]
    lines += [
        "## Repeat it",
        "",
        f"    {repeat.command}",
        "",
        *(f"- {for_markdown(name)}: {for_markdown(text)}" for name, text in repeat.facts),
    ]
    for plugin in repeat.plugins:
        lines += ["", f"## Plug-in {for_markdown(plugin.label)}", "", f"SHA-256 {for_markdown(plugin.digest)}"]
        for path, text in plugin.shown.items():
            lines += ["", for_markdown(path), "", *(f"    {line}" for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def grid(table: pd.DataFrame) -> str:
    """A table in Markdown."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(map(for_markdown, cells)) + " |"

    rows = [list(row) for row in table.itertuples(index=False, name=None)]
    return "\n".join([line(list(table.columns)), "|" + "---|" * len(table.columns), *map(line, rows)])
