"""The pictures: every region and token where it lies in the photo, and what is read told from what is not."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from biformer_lit.attention import BiLevelRoutingAttention, record_routing
from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid
from biformer_lit.routing import RoutedBlock, draw_block, draw_sheet
from biformer_lit.routing.blocks import check_point
from biformer_lit.routing.draw import _Page
from biformer_lit.routing.paint import (
    ATTENTION_COLOURS,
    paint_heat,
    paint_routed,
    region_boxes,
    routed_strength,
    spread,
    spread_regions,
)
from biformer_lit.routing.panels import QUERY_COLOUR, look

STRIDE = 4


def routed(size=(24, 36), images=1, **settings):
    """A block's routing on random features for an image of this size, in pixels."""
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(16, 2, **{"regions": 3, "topk": 2, **settings})
    with torch.no_grad(), record_routing(module) as records:
        module(torch.randn(images, -(-size[0] // STRIDE), -(-size[1] // STRIDE), 16))
    return RoutedBlock(2, 3, STRIDE, records[""])


def photo(size=(24, 36)):
    return np.random.default_rng(0).uniform(0.2, 1, (*size, 3)).astype(np.float32)


def render(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def at(figure, picture, axes, x, y):
    """Colour of the rendered figure at a pixel of the photo."""
    across, up = axes.transData.transform((x, y))
    return picture[picture.shape[0] - 1 - int(up), int(across)]


def test_names_count_from_one():
    assert routed().name == "stage2.block3"


def test_regions_of_a_photo_that_is_not_square():
    boxes = region_boxes(RegionGrid(6, 9, 2, 3), STRIDE, (24, 36))
    assert boxes.shape == (9, 4)
    assert boxes[0].tolist() == [0, 0, 12, 8]
    assert boxes[5].tolist() == [24, 8, 36, 16]
    assert boxes[7].tolist() == [12, 16, 24, 24]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert areas.sum() == 24 * 36


def test_regions_that_overhang_end_with_the_photo():
    # 25 x 30 pixels give 7 x 8 tokens in regions of 3 x 3: the last row has one token, of which one pixel is real
    boxes = region_boxes(RegionGrid(7, 8, 3, 3), STRIDE, (25, 30))
    assert boxes[8].tolist() == [24, 24, 30, 25]
    assert boxes[3].tolist() == [0, 12, 12, 24]


def test_regions_of_the_released_padding_may_lie_outside():
    boxes = region_boxes(RegionGrid(14, 14, 2, 2), STRIDE, (32, 32))
    visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert visible.reshape(7, 7)[:4, :4].all()
    assert visible.sum() == 16


def test_values_are_spread_over_their_cells():
    values = np.arange(1, 7.0).reshape(2, 3)
    pixels = spread(values, (4, 2), (7, 8))
    assert pixels.shape == (7, 8)
    for y in range(7):
        for x in range(8):
            assert pixels[y, x] == (values[y // 4, x // 2] if x < 6 else 0)


def test_regions_spread_to_their_boxes():
    grid, size = RegionGrid(7, 8, 3, 3), (25, 30)
    pixels = spread_regions(np.arange(9), grid, STRIDE, size)
    for number, (left, top, right, bottom) in enumerate(region_boxes(grid, STRIDE, size)):
        assert (pixels[top:bottom, left:right] == number).all()


@pytest.mark.parametrize(
    ("point", "token"),
    [((0, 0), (0, 0)), ((1, 1), (5, 8)), ((0.5, 0.25), (1, 4)), ((0.999, 0), (0, 8)), ((0, 4 / 24), (1, 0))],
)
def test_the_token_of_a_point(point, token):
    assert routed().token_at(point, (24, 36)) == token


def test_strength_is_the_rank_of_the_affinity():
    record = routed(topk=4).record
    strength = routed_strength(record, 0, 5)
    order = record.affinity[0, 0, 5].argsort(descending=True)[:4].tolist()
    assert [float(strength[region]) for region in order] == [1, 0.75, 0.5, 0.25]
    assert np.count_nonzero(strength) == 4


def test_strength_of_choices_without_content_is_ranked_as_well():
    record = routed(topk=3, routing="random").record
    strength = routed_strength(record, 0, 5)
    chosen = record.index[0, 0, 5]
    assert set(np.flatnonzero(strength)) == set(chosen.tolist())
    best = chosen[record.affinity[0, 0, 5][chosen].argmax()]
    assert strength[best] == 1


def test_strength_of_separate_heads_is_their_share():
    record = routed(routing_heads="per_head", topk=3).record
    strength = routed_strength(record, 0, 4)
    first, second = (set(record.index[0, head, 4].tolist()) for head in range(2))
    for region in range(9):
        assert strength[region] == ((region in first) + (region in second)) / 2


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_what_is_read_is_brighter_on_any_photo(level):
    flat = np.full((2, 2, 3), level)
    painted = paint_routed(flat, np.array([[0, 0.25], [0.5, 1]])).mean(-1)
    assert painted[0, 0] < painted[0, 1] < painted[1, 0] < painted[1, 1]


def test_heat_is_colour_and_none_is_the_photo_in_grey():
    painted = paint_heat(photo((2, 2)), np.array([[0, 1], [2, 4.0]]), 4, ATTENTION_COLOURS)
    assert np.ptp(painted[0, 0]) == pytest.approx(0)
    lightness = paint_heat(np.zeros((2, 2, 3)), np.array([[0, 1], [2, 4.0]]), 4, ATTENTION_COLOURS).mean(-1).flatten()
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, (24, 36)), ({"topk": 4}, (25, 30)), ({"routing_heads": "per_head"}, (36, 24)), ({"topk": "all"}, (24, 24))],
)
def test_what_is_drawn_of_a_block(settings, size):
    block, point = routed(size, images=2, **settings), (0.6, 0.3)
    seen = look(photo(size), block, point, image=1)
    left, top, right, bottom = seen.boxes[seen.query]
    assert left <= 0.6 * size[1] < right
    assert top <= 0.3 * size[0] < bottom
    union = set(block.record.index[1, :, seen.query].flatten().tolist())
    assert set(np.flatnonzero(seen.strength)) == union
    for number, (left, top, right, bottom) in enumerate(seen.boxes):
        inside = slice(top, bottom), slice(left, right)
        assert (seen.routed[inside] > 0).all() == (number in union)
        assert (seen.attention[inside] > 0).any() == (number in union)
        assert (seen.degrees[inside] == seen.degree[number]).all()
    row, column = block.token_at(point, size)
    attention = block.record.token_attention(1, row, column).mean(0)
    assert seen.attention[::STRIDE, ::STRIDE] == pytest.approx(attention.numpy())


def test_the_three_panels_as_rendered():
    block, point = routed(topk=2), (0.1, 0.9)
    seen = look(photo(), block, point)
    figure = draw_block(photo(), block, point)
    picture = render(figure)
    routed_axes, attention_axes, degree_axes = figure.axes[:3]
    for axes in (routed_axes, attention_axes, degree_axes):
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(36 / 24)
    bright, dark = [], []
    for region, (left, top, right, bottom) in enumerate(seen.boxes):
        if region == seen.query:
            continue
        colour = at(figure, picture, routed_axes, (left + right) / 2, (top + bottom) / 2)
        (bright if seen.strength[region] else dark).append(colour.mean())
    assert min(bright) > max(dark)
    left, top, right, bottom = seen.boxes[seen.query]
    border = at(figure, picture, routed_axes, (left + right) / 2, top)
    assert border == pytest.approx(to_rgb(QUERY_COLOUR), abs=0.1)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0] == "regions read: 2 of 9"
    assert titles[1].endswith("mean of 2 heads")
    assert any(text.get_text() == "stage 2, block 3" for text in figure.texts)


def test_regions_read_by_nobody_are_hatched():
    block = routed(topk=1)
    figure = draw_block(photo(), block, (0.5, 0.5))
    seen = look(photo(), block, (0.5, 0.5))
    hatched = [patch.get_xy() for patch in figure.axes[2].patches if patch.get_hatch()]
    assert hatched == [tuple(seen.boxes[region, :2]) for region in np.flatnonzero(seen.degree == 0)]
    assert 0 < len(hatched) < 9
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"regions that nobody reads: {len(hatched)}" in labels


def test_the_colours_of_the_strength_are_explained():
    def bar(**settings):
        axes = draw_block(photo(), routed(**settings), (0.5, 0.5)).axes[3]
        return axes.get_xlabel(), [label.get_text() for label in axes.get_xticklabels()]

    assert bar(topk=4) == ("rank by affinity to the query's region", ["4", "1"])
    assert bar(topk=1) == ("rank by affinity to the query's region", ["1"])
    assert bar(topk=4, routing_heads="per_head") == ("heads that read it", ["1", "2"])


def test_padding_is_not_drawn():
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(16, 2, regions=7, topk=30, padding="released")
    with torch.no_grad(), record_routing(module) as records:
        module(torch.randn(1, 8, 8, 16))
    figure = draw_block(photo((32, 32)), RoutedBlock(1, 1, STRIDE, records[""]), (1, 1))
    render(figure)
    for axes in figure.axes[:3]:
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 32), (32, 0))
        assert all(0 <= x < 32 and 0 <= y < 32 for x, y in (patch.get_xy() for patch in axes.patches))


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (8, 1), (9, 2)])
def test_the_sheet_has_three_pictures_for_each_block(count, rows):
    block = routed()
    figure = draw_sheet(photo(), [block] * count, (0.5, 0.5))
    picture = render(figure)
    assert len(figure.axes) == 3 * count
    assert sum(text.get_text() == "stage 2, block 3" for text in figure.texts) == count
    tops = {round(axes.get_position().y1, 6) for axes in figure.axes}
    assert len(tops) == 3 * rows
    axes = figure.axes[0]
    seen = look(photo(), block, (0.5, 0.5))
    read = [r for r in np.flatnonzero(seen.strength) if r != seen.query]
    unread = [r for r in np.flatnonzero(seen.strength == 0) if r != seen.query]
    centre = (seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2
    brightness = [at(figure, picture, axes, *centre[r]).mean() for r in (*read, *unread)]
    assert min(brightness[: len(read)]) > max(brightness[len(read) :])


@pytest.mark.parametrize("point", [(-0.1, 0), (0, 1.01), (float("nan"), 0)])
def test_a_point_outside(point):
    with pytest.raises(ConfigError, match="lies outside the image; give x and y as fractions"):
        check_point(point)


@pytest.mark.parametrize("most", [1.0, 1 / 256, 3.7e-5])
def test_numbers_of_a_bar_stay_apart(most):
    page = _Page(5, 1)
    bar = page.colour_bar(0.1, 0.1, 4.3, colormaps["viridis"], most, "weight")
    renderer = FigureCanvasAgg(page.figure).get_renderer()
    page.figure.draw(renderer)
    low, high = bar.get_xlim()
    shown = [x for at, x in zip(bar.get_xticks(), bar.get_xticklabels(), strict=True) if low <= at <= high * 1.0001]
    boxes = [label.get_window_extent(renderer) for label in shown]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    texts = [label.get_text() for label in shown]
    assert len(set(texts)) == len(texts)
