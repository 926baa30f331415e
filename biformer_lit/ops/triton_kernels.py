"""The kernels of the backend ``triton``; ``triton_attend.py`` says what they compute and launches them.

Common to all of them:

- The tokens of the map are numbered by pixel, ``row * width + column``, and found by arithmetic on a region's number
  and a token's number in it, so that nothing is cut or gathered beforehand. Pixels and images of q, k and v lie
  ``pixel_stride`` and ``image_stride`` elements apart; outputs, gradients and statistics are contiguous.
- A program holds a tile of ``block_rows`` tokens (queries, or keys where these get gradients) and walks over the tokens
  that meet them, ``block_columns`` at a time. The tile is a part of one region, or ``group`` > 1 whole small
  regions. A group walks over all regions, and bit i of ``meets`` (N, groups, R) says whether its region i meets each.
- ``table`` (N, R, R) is the bias of a query's and a key's region, or None.
- ``masked`` says that tokens beyond the border of the map are seen by nobody. Otherwise they are zero keys and values.
- Products are accumulated in float32, and float32 inputs are multiplied as such. Exponentials are to the base of 2.
"""

# The arguments are what the compiler makes of tensors and numbers, which Python has no types for.
# ruff: noqa: ANN001, ANN201, ANN202

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
# Whether Triton's interpreter runs the kernels, on any device. It is chosen at two imports, Triton's and this module's.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret and not isinstance(tl.max, triton.runtime.JITFunction))


@triton.jit
def _tile(
    height, width, heads,
    region_height: tl.constexpr, region_width: tl.constexpr, group: tl.constexpr, block_rows: tl.constexpr,
):  # fmt: skip
    """This program's image and head; its first region; and each row's region, number in it, and whether it is there.

    Programs that follow each other have the same keys, for the cache's sake.
    """
    tokens: tl.constexpr = region_height * region_width
    blocks: tl.constexpr = (group * tokens + block_rows - 1) // block_rows
    regions = tl.cdiv(height, region_height) * tl.cdiv(width, region_width)
    tiles = tl.cdiv(regions, group) * blocks
    tile = tl.program_id(0) % tiles
    number = tl.program_id(0) // tiles
    first = tile // blocks * group
    position = tile % blocks * block_rows + tl.arange(0, block_rows)
    there = (position < group * tokens) & (first + position // tokens < regions)
    region = first
    if group > 1:
        region = tl.where(there, first + position // tokens, first)
    return (number // heads).to(tl.int64), number % heads, regions, first, region, position % tokens, there


@triton.jit
def _walk(routed, start, count, tokens: tl.constexpr, group: tl.constexpr, block_columns: tl.constexpr):
    """The tokens from ``start`` on of ``count`` regions: region, number in it, and whether it is there at all."""
    position = start + tl.arange(0, block_columns)
    there = position < count * tokens
    region = tl.where(there, position // tokens, 0)
    if group == 1:
        region = tl.load(routed + region, mask=there, other=0).to(tl.int32)
    return region, position % tokens, there


@triton.jit
def _pixel(region, token, there, height, width, region_height: tl.constexpr, region_width: tl.constexpr):
    """Pixel of a token, and whether it is on the map."""
    columns = tl.cdiv(width, region_width)
    row = region // columns * region_height + token // region_width
    column = region % columns * region_width + token % region_width
    return row * width + column, there & (row < height) & (column < width)


@triton.jit
def _elements(pixel, inside, stride, head_dim: tl.constexpr, block_dim: tl.constexpr):
    """Addresses of the pixels' channels (pixels, block_dim), and which of them exist."""
    channel = tl.arange(0, block_dim)
    mask = inside[:, None]
    if head_dim != block_dim:
        mask = mask & (channel < head_dim)[None, :]
    return pixel[:, None] * stride + channel[None, :], mask


@triton.jit
def _load(tensor, pixel, inside, stride, head_dim: tl.constexpr, block_dim: tl.constexpr):
    """Channels of the pixels, (pixels, block_dim); zero beyond the map and beyond the head."""
    address, mask = _elements(pixel, inside, stride, head_dim, block_dim)
    return tl.load(tensor + address, mask=mask, other=0.0)


@triton.jit
def _store(tensor, x, pixel, inside, stride, head_dim: tl.constexpr, block_dim: tl.constexpr):
    """The inverse of `_load`."""
    address, mask = _elements(pixel, inside, stride, head_dim, block_dim)
    tl.store(tensor + address, x.to(tensor.dtype.element_ty), mask=mask)


@triton.jit
def _add_product(total, a, b):
    """``total + a @ b`` in float32, ``a`` rounded to the type of ``b``."""
    a = a.to(b.dtype)
    if INTERPRETED:  # its numpy has no bfloat16, and the product of two is exact in float32
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def _products(a, b):
    """``a @ b.T`` in float32."""
    return _add_product(tl.zeros([a.shape[0], b.shape[0]], tl.float32), a, tl.trans(b))


@triton.jit
def _scores(
    products, scale, seen, meets, table, image, regions, first, region, other,
    inverse: tl.constexpr, group: tl.constexpr,
):  # fmt: skip
    """Base-2 scores of the tile's rows and columns; minus infinity where these do not see each other.

    ``region`` is that of the rows, ``other`` that of the columns, which are the queries if ``inverse``.
    """
    scores = products * (scale * LOG2E)
    if table is not None:
        at = other[None, :] * (regions if inverse else 1)
        at += (region if group == 1 else region[:, None]) * (1 if inverse else regions)
        scores += tl.load(table + image * regions * regions + at) * LOG2E
    if group > 1:
        bits = tl.load(meets + (image * tl.cdiv(regions, group) + first // group) * regions + other)
        seen = seen & ((bits[None, :] >> (region - first)[:, None]) & 1 != 0)
    return tl.where(seen, scores, float("-inf"))


@triton.jit
def forward_kernel(
    q, k, v, index, meets, table, out, lse, scale, image_stride, pixel_stride, height, width, topk, heads,
    region_height: tl.constexpr, region_width: tl.constexpr, masked: tl.constexpr, head_dim: tl.constexpr,
    group: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr, block_dim: tl.constexpr,
):  # fmt: skip
    """Attended values, and the base-2 logarithm of each query's sum of exponentials, in one pass over its keys."""
    tokens: tl.constexpr = region_height * region_width
    image, head, regions, first, region, token, there = _tile(
        height, width, heads, region_height, region_width, group, block_rows
    )
    pixels = height * width
    origin = image * image_stride + head * head_dim
    q, k, v = q + origin, k + origin, v + origin
    routed = index + (image * regions + first) * topk
    pixel, inside = _pixel(region, token, there, height, width, region_height, region_width)
    query = _load(q, pixel, inside, pixel_stride, head_dim, block_dim)
    best = tl.full([block_rows], float("-inf"), tl.float32)
    total = tl.zeros([block_rows], tl.float32)
    attended = tl.zeros([block_rows, block_dim], tl.float32)
    count = topk if group == 1 else regions
    for start in range(0, count * tokens, block_columns):
        other, place, known = _walk(routed, start, count, tokens, group, block_columns)
        key_pixel, real = _pixel(other, place, known, height, width, region_height, region_width)
        key = _load(k, key_pixel, real, pixel_stride, head_dim, block_dim)
        value = _load(v, key_pixel, real, pixel_stride, head_dim, block_dim)
        seen = there[:, None] & (real if masked else known)[None, :]
        products = _products(query, key)
        scores = _scores(products, scale, seen, meets, table, image, regions, first, region, other, False, group)
        new = tl.maximum(best, tl.max(scores, 1))
        shift = tl.where(new == float("-inf"), 0.0, new)  # nothing seen yet: no minus infinity less itself
        weights = tl.exp2(scores - shift[:, None])
        shrink = tl.exp2(best - shift)
        total = total * shrink + tl.sum(weights, 1)
        attended = _add_product(attended * shrink[:, None], weights, value)
        best = new
    total = tl.where(there, total, 1.0)
    best = tl.where(there, best, 0.0)
    out += image * pixels * heads * head_dim + head * head_dim
    _store(out, attended / total[:, None], pixel, inside, heads * head_dim, head_dim, block_dim)
    tl.store(lse + (image * heads + head) * pixels + pixel, best + tl.log2(total), mask=inside)


@triton.jit
def query_gradient_kernel(
    gradient, q, k, v, index, meets, table, lse, delta, dq, scale, image_stride, pixel_stride, height, width, topk,
    heads,
    region_height: tl.constexpr, region_width: tl.constexpr, masked: tl.constexpr, head_dim: tl.constexpr,
    group: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr, block_dim: tl.constexpr,
    passes: tl.constexpr,
):  # fmt: skip
    """Gradient of the queries; and ``delta``, the mean of the weights' gradients under the weights.

    Delta is taken from the float32 weights, in a pass of its own (``passes`` is 2) unless all keys are in one tile
    (1). Taken from the rounded output, as is usual, it costs a digit of a bfloat16 gradient, which is a small
    difference of large terms.
    """
    tokens: tl.constexpr = region_height * region_width
    image, head, regions, first, region, token, there = _tile(
        height, width, heads, region_height, region_width, group, block_rows
    )
    pixels = height * width
    origin = image * image_stride + head * head_dim
    q, k, v = q + origin, k + origin, v + origin
    gradient += image * pixels * heads * head_dim + head * head_dim
    statistics = (image * heads + head) * pixels
    routed = index + (image * regions + first) * topk
    pixel, inside = _pixel(region, token, there, height, width, region_height, region_width)
    query = _load(q, pixel, inside, pixel_stride, head_dim, block_dim)
    pull = _load(gradient, pixel, inside, heads * head_dim, head_dim, block_dim)
    total = tl.load(lse + statistics + pixel, mask=inside, other=0.0)
    mean = tl.zeros([block_rows], tl.float32)
    found = tl.zeros([block_rows, block_dim], tl.float32)
    count = topk if group == 1 else regions
    for step in tl.static_range(passes):
        for start in range(0, count * tokens, block_columns):
            other, place, known = _walk(routed, start, count, tokens, group, block_columns)
            key_pixel, real = _pixel(other, place, known, height, width, region_height, region_width)
            key = _load(k, key_pixel, real, pixel_stride, head_dim, block_dim)
            value = _load(v, key_pixel, real, pixel_stride, head_dim, block_dim)
            seen = inside[:, None] & (real if masked else known)[None, :]
            products = _products(query, key)
            scores = _scores(products, scale, seen, meets, table, image, regions, first, region, other, False, group)
            weights = tl.exp2(scores - total[:, None])
            pulled = _products(pull, value)
            if step == 0:
                mean += tl.sum(weights * pulled, 1)
            if step == passes - 1:
                change = weights * (pulled - mean[:, None])
                found = _add_product(found, change, key)
    dq += image * pixels * heads * head_dim + head * head_dim
    _store(dq, found * scale, pixel, inside, heads * head_dim, head_dim, block_dim)
    tl.store(delta + statistics + pixel, mean, mask=inside)


@triton.jit
def key_gradient_kernel(
    gradient, q, k, v, readers, offsets, meets, table, lse, delta, dk, dv, scale, image_stride, pixel_stride,
    height, width, topk, heads,
    region_height: tl.constexpr, region_width: tl.constexpr, head_dim: tl.constexpr, group: tl.constexpr,
    block_rows: tl.constexpr, block_columns: tl.constexpr, block_dim: tl.constexpr,
):  # fmt: skip
    """Gradients of the keys and the values, summed over the query regions that read them in the order of these.

    ``readers[image, offsets[image, r] : offsets[image, r + 1]]`` are the query regions that read region ``r``: perhaps
    all, perhaps none, and then zeros are written. A group needs no such list.
    """
    tokens: tl.constexpr = region_height * region_width
    image, head, regions, first, region, token, there = _tile(
        height, width, heads, region_height, region_width, group, block_rows
    )
    pixels = height * width
    origin = image * image_stride + head * head_dim
    q, k, v = q + origin, k + origin, v + origin
    gradient += image * pixels * heads * head_dim + head * head_dim
    statistics = (image * heads + head) * pixels
    pixel, inside = _pixel(region, token, there, height, width, region_height, region_width)
    key = _load(k, pixel, inside, pixel_stride, head_dim, block_dim)
    value = _load(v, pixel, inside, pixel_stride, head_dim, block_dim)
    key_found = tl.zeros([block_rows, block_dim], tl.float32)
    value_found = tl.zeros([block_rows, block_dim], tl.float32)
    if group == 1:
        offsets += image * (regions + 1) + first
        routed = readers + image * regions * topk + tl.load(offsets)
        count = (tl.load(offsets + 1) - tl.load(offsets)).to(tl.int32)
    else:
        count = regions
        routed = readers  # None
    for start in range(0, count * tokens, block_columns):
        other, place, known = _walk(routed, start, count, tokens, group, block_columns)
        query_pixel, real = _pixel(other, place, known, height, width, region_height, region_width)
        query = _load(q, query_pixel, real, pixel_stride, head_dim, block_dim)
        pull = _load(gradient, query_pixel, real, heads * head_dim, head_dim, block_dim)
        total = tl.load(lse + statistics + query_pixel, mask=real, other=0.0)
        mean = tl.load(delta + statistics + query_pixel, mask=real, other=0.0)
        seen = inside[:, None] & real[None, :]  # rows beyond the map have no gradient to be written
        products = _products(key, query)
        scores = _scores(products, scale, seen, meets, table, image, regions, first, region, other, True, group)
        weights = tl.exp2(scores - total[None, :])
        value_found = _add_product(value_found, weights, pull)
        change = weights * (_products(value, pull) - mean[None, :])
        key_found = _add_product(key_found, change, query)
    origin = image * pixels * heads * head_dim + head * head_dim
    _store(dk + origin, key_found * scale, pixel, inside, heads * head_dim, head_dim, block_dim)
    _store(dv + origin, value_found, pixel, inside, heads * head_dim, head_dim, block_dim)


@triton.jit
def bias_gradient_kernel(
    gradient, q, k, v, index, table, lse, delta, dbias, scale, image_stride, pixel_stride, height, width, topk,
    heads,
    region_height: tl.constexpr, region_width: tl.constexpr, masked: tl.constexpr, head_dim: tl.constexpr,
    block: tl.constexpr, block_dim: tl.constexpr,
):  # fmt: skip
    """Gradient of the bias: one program for each routed region adds up its tokens, all queries and all heads."""
    tokens: tl.constexpr = region_height * region_width
    regions = tl.cdiv(height, region_height) * tl.cdiv(width, region_width)
    number = tl.program_id(0)
    image = (number // (regions * topk)).to(tl.int64)
    region = number // topk % regions
    other = tl.load(index + number).to(tl.int32)
    pixels = height * width
    origin = image * image_stride
    q, k, v = q + origin, k + origin, v + origin
    gradient += image * pixels * heads * head_dim
    bias = tl.load(table + image * regions * regions + region * regions + other) * LOG2E
    found = tl.zeros([block], tl.float32)
    for head in range(heads):
        statistics = (image * heads + head) * pixels
        channel = head * head_dim
        for row in range(0, tokens, block):
            token = row + tl.arange(0, block)
            there = token < tokens
            pixel, inside = _pixel(region, token, there, height, width, region_height, region_width)
            query = _load(q + channel, pixel, inside, pixel_stride, head_dim, block_dim)
            pull = _load(gradient + channel, pixel, inside, heads * head_dim, head_dim, block_dim)
            total = tl.load(lse + statistics + pixel, mask=inside, other=0.0)
            mean = tl.load(delta + statistics + pixel, mask=inside, other=0.0)
            for column in range(0, tokens, block):
                place = column + tl.arange(0, block)
                known = place < tokens
                key_pixel, real = _pixel(other, place, known, height, width, region_height, region_width)
                key = _load(k + channel, key_pixel, real, pixel_stride, head_dim, block_dim)
                value = _load(v + channel, key_pixel, real, pixel_stride, head_dim, block_dim)
                seen = inside[:, None] & (real if masked else known)[None, :]
                scores = tl.where(seen, _products(query, key) * (scale * LOG2E) + bias, float("-inf"))
                weights = tl.exp2(scores - total[:, None])
                found += tl.sum(weights * (_products(pull, value) - mean[:, None]), 1)
    tl.store(dbias + number, tl.sum(found, 0))
