"""Parser messages rewritten for people: one line with the field, what was wrong and what is allowed."""

import re

_FIELD = re.compile(r"""(?:Parser key|Key|key) ["']([\w.\-]+)["']""")
_VALUE = re.compile(r"(?:Given value|Got value): (.*?)\s*$", re.MULTILINE)
_NESTED_VALUE = re.compile(r"NestedArg\(key='([^']*)', val=(.*)\)")
_SUBTYPES = re.compile(r"Subtypes: (\[.*\])")
_EXPECTED = re.compile(r"Expected (?:a |an )?(.*?)(?:\. Got value|: |$)", re.MULTILINE)
_UNKNOWN = re.compile(
    r"(?:(?:Group|Subcommand) '(\w+)' does not accept option '([^']+)'|Option '([^']+)' is not accepted)"
)
_MOST = 500
# our own commands, which the parser of the training commands does not know
COMMANDS = ("profile", "complexity", "convert", "visualize", "sweep")
# What a message is about, and what to say instead or besides; the first that fits counts.
_BETTER = {
    "unrecognized arguments": "{text}; --help lists the arguments",
    "does not accept": "{text}; --help lists the arguments",
    "arguments are required: fit.data, fit.model": (
        "nothing to train was given: add --config FILE (lightning_cli.yaml is the quickstart)"
    ),
    "arguments are required": "{text}; give it (--help explains the arguments)",
    "expected one argument": "{text}; give it (--help explains the arguments)",
    'expected "subcommand"': (
        f"no command was given; use fit, validate, test, predict, {', '.join(COMMANDS[:-1])} or {COMMANDS[-1]} "
        "(--help explains them)"
    ),
    "argument subcommand: invalid choice": "{text}",
}


def one_line(message: str) -> str:
    """The gist of a parser's message of any length, on one line.

    jsonargparse reports every attempt at every member of a union on a line of its own; what a person needs is
    the field, the value, and what would have been accepted.
    """
    fields = _FIELD.findall(message)
    values = _VALUE.findall(message)
    if not fields or not values:
        return _shorten(_hint(" ".join(message.split())))
    field, value = fields[-1], values[-1]
    nested = _NESTED_VALUE.match(value)
    if nested:
        value = nested[2].strip("'\"")
        field = nested[1] if field not in nested[1] else field
    if "dot import path" in message:
        return _shorten(f"{field}: {value!r} is not a class that can be found; give its name or import path")
    subtypes = _SUBTYPES.search(message)
    expected = subtypes[1][1:-1] if subtypes else _EXPECTED.findall(message)[-1]
    return _shorten(f"{field}: {value!r} is not allowed; expected {_readable(expected)}")


def _readable(types: str) -> str:
    """Python's spelling of types as a person would write the choices."""
    types = re.sub(r"<class '(?:[\w]+\.)*(\w+)'>", r"\1", types)
    types = types.replace("typing.", "").replace("NoneType", "null")
    types = re.sub(r"Literal\[([^\]]*)\]", r"\1", types)
    types = re.sub(r"Union\[([^\[\]]*)\]", lambda match: match[1].replace(", ", " | "), types)
    return types.replace("list[", "a list of [")


def _hint(text: str) -> str:
    if unknown := _UNKNOWN.search(text):
        where = f" of {unknown[1]}" if unknown[1] else ""
        return (
            f"{unknown[2] or unknown[3]}: there is no such setting{where}; correct it (--print_config shows all "
            "there are, with their defaults) or remove it"
        )
    for part, better in _BETTER.items():
        if part in text:
            choices = ", ".join(map(repr, ("predict", *COMMANDS)))
            hint = better.partition("{text}")[2]
            if hint and text.endswith(hint):  # a message that is part of another one had its hint already
                return text
            return better.format(text=text.replace("'predict')", f"{choices})"))
    return text


def _shorten(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."
