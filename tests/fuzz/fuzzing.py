"""What the fuzz tests share: how many cases, how bytes and values are damaged.

As they are, a few dozen cases each, the same every time. ``BIFORMER_LIT_FUZZ=5000 pytest -m slow tests/fuzz`` tries
that many new ones of each.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("BIFORMER_LIT_FUZZ", "0"))


def fuzz(few, **strategies):
    """A test of so many cases, or of as many as the environment says."""

    def decorate(test):
        test = pytest.mark.filterwarnings("ignore")(given(**strategies)(test))  # decoders warn of what they mend
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
        test = settings(
            max_examples=MANY or few,
            derandomize=not MANY,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=checks,
        )(test)
        return pytest.mark.timeout(0)(pytest.mark.slow(test)) if MANY else test

    return decorate


def one_line(error, start=""):
    """Every error of ours is one line, and short enough to be read."""
    assert "\n" not in str(error)
    assert str(error).startswith(start)
    assert len(str(error)) < 1000


EDGES = [0, 1, -1, 2, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30]
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-5, 70),
    st.floats(-5, 70),
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 1e-308, -0.0]),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from(["1", "nan", "all", "", "é\x00\n"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
"""Whatever JSON or YAML can hold."""


@st.composite
def damaged(draw, whole):
    """One of the byte strings with bytes changed, left out, put in, doubled or cut off."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        # beginnings matter most: headers with sizes and types
        place = draw(st.one_of(st.integers(0, min(len(content), 64) - 1), st.integers(0, len(content) - 1)))
        length = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["flip", "set", "cut", "remove", "insert", "double", "big"]))
        if kind == "flip":
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[place] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del content[place:]
        elif kind == "remove":
            del content[place : place + length]
        elif kind == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "double":
            content[place:place] = content[place : place + length]
        else:
            content[place : place + 4] = draw(st.sampled_from([b"\xff\xff\xff\x7f", b"\x00\x00\xff\xff", b"\xff" * 4]))
    return bytes(content)


def mutate(draw, value, values=VALUES):
    """Nested plain values with one to three places replaced, removed or added."""
    for _ in range(draw(st.integers(1, 3))):
        value = _mutate_once(draw, value, values)
    return value


def _mutate_once(draw, value, values):
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        kind = draw(st.integers(0, 9))
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {**value, draw(st.text(max_size=8)): draw(values)}
        return {**value, key: _mutate_once(draw, value[key], values)}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _mutate_once(draw, value[place], values), *value[place + 1 :]]
    return draw(values)
