"""Settings that were given on the command line or in a config, as opposed to defaults."""

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from biformer_lit.text.dotted import flat


def given_data_settings(parser: LightningArgumentParser, args: Any) -> frozenset[str]:
    """Names of the data module's settings that were given; those of groups with a dot.

    Args:
        parser: The command line's parser.
        args: A command line that it has taken already: its words, or a config as a dict.
    """
    parse = parser.parse_args if args is None or isinstance(args, list) else parser.parse_object
    given = parse(args, defaults=False)
    data = given[given.subcommand].get("data")
    return frozenset(flat(data.as_dict()) if data else ())
