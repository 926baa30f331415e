"""Docstrings begin with a verb or a noun phrase, as PEP 257 and Google's style guide ask for."""

import ast
import re

QUESTION = re.compile(r"(What|How|Whether|Which|Who|Whose|Where|When|Why|If|That)\b")


def docstrings(root):
    """Yield the place and the text of every docstring of the package."""
    for path in sorted(root.glob("biformer_lit/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(root)}:{getattr(node, 'lineno', 1)}", text


def test_no_docstring_begins_like_a_question(root):
    found = dict(docstrings(root))
    assert len(found) > 1000  # the walk sees them
    wrong = [f"{place}: {text.splitlines()[0]}" for place, text in found.items() if QUESTION.match(text)]
    assert not wrong, "begin with a verb or a noun phrase:\n" + "\n".join(wrong)
