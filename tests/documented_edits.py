"""The edits that CONTRIBUTING.md shows, applied to a copy of the package."""

import re
import shutil


def edited_package(root, folder, heading):
    """A copy of the package in ``folder`` with the edits of the diff under a heading of CONTRIBUTING.md.

    The diff has no line numbers: lines that stay must be found once, as they are, or the document is out of date.
    """
    section = (root / "CONTRIBUTING.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    diff = re.search(r"```diff\n(.*?)```", section, re.DOTALL)[1]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "biformer_lit", folder / "biformer_lit", ignore=ignored)
    shutil.copy(root / "lightning_cli.yaml", folder)  # the recipe of the digits
    for part in re.split(r"^--- a/.*\n", diff, flags=re.MULTILINE)[1:]:
        head, *lines = part.splitlines()
        path = folder / head.removeprefix("+++ b/")
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " -")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " +")
        text = path.read_text()
        assert text.count(before) == 1, f"{path}: CONTRIBUTING.md, {heading}, has lines that it has not"
        path.write_text(text.replace(before, after))
    return folder
