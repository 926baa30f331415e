"""Write the list of all settings of a network into docs/model.md: ``python scripts/document_settings.py``."""

import re
import textwrap
from pathlib import Path

from biformer_lit.backbone.config import network_settings

PAGE = Path(__file__).parent.parent / "docs/model.md"
BEGIN, END = "<!-- settings: python scripts/document_settings.py -->\n", "<!-- end of settings -->\n"


def described() -> str:
    """Every setting with its default and explanation, as a list."""
    lines = []
    for setting in network_settings():
        values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        default = ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
        doc = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", setting.doc).replace("``", "`")
        per_stage = "; per stage" if setting.per_stage else ""
        text = f"- `{setting.name}` ({default}{per_stage}): {doc}"
        lines.append(textwrap.fill(text, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False))
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the list as it has to be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{described()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
