"""Writes a study's report."""

from collections.abc import Callable
from pathlib import Path

from biformer_lit.common.files import replacing, write_text
from biformer_lit.sweep.report.answer import Answer, answer
from biformer_lit.sweep.report.content import read_content
from biformer_lit.sweep.report.drawings import drawings
from biformer_lit.sweep.report.figures import write_figures
from biformer_lit.sweep.report.page import page
from biformer_lit.sweep.report.reproduce import reproduction
from biformer_lit.sweep.report.routing_pictures import routing_maps
from biformer_lit.sweep.report.series import learning_curves
from biformer_lit.sweep.report.text import latex_table, main_table, markdown
from biformer_lit.sweep.results.trial_table import write_csv

PAGE, MARKDOWN, LATEX, TABLE = "report.html", "report.md", "table.tex", "table.csv"


def write_report(folder: Path, out: Path, say: Callable[[str], None], tables: Path | None = None) -> Answer:
    """Write a study's report from the files in its folder.

    Args:
        folder: The study's, with ``study.yaml`` and the results that ``sweep export`` writes.
        out: Gets report.html, report.md, table.tex, table.csv and figures/; made if it is not there.
        say: Gets a line when a part that takes its time begins.
        tables: Where the results are, by default in the study's folder.

    Returns:
        The answer to the study's question.

    Raises:
        ConfigError: If there is nothing to report.
    """
    content = read_content(folder, tables)
    said = answer(content)
    out.mkdir(parents=True, exist_ok=True)
    say("drawing the figures")
    curves, repeat = learning_curves(content), reproduction(content)
    drawn = drawings(content, curves)
    figures = write_figures(content, drawn, out / "figures")
    maps = routing_maps(content)
    for one in maps:
        name = f"routing_{one.role.partition(' ')[0]}"
        with replacing(out / "figures" / f"{name}.png") as path:
            path.write_bytes(one.png)
        figures[name] = f"Routing of {one.cell} ({one.role}), seed {one.seed}, step {one.step}"
    say("writing the page")
    write_text(out / MARKDOWN, markdown(content, said, figures, repeat))
    write_text(out / LATEX, latex_table(content))
    write_csv(main_table(content), out / TABLE)
    write_text(out / PAGE, page(content, said, drawn, maps, repeat))
    return said
