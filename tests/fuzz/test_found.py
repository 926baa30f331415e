"""What the fuzz tests have found, each once more by name."""

import pytest
from test_fuzz_objects import check_row

from biformer_lit.data.images import BadImageError, reading
from biformer_lit.data.object_masks import decode_object_mask
from biformer_lit.errors import DataError

BOX = [1.0, 1.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "stored",
    [
        {"bbox": False},
        {"bbox": [], "category": [], "mask": {"": None}},
        {"bbox": [BOX], "category": [0], "iscrowd": [""]},
        {"bbox": [BOX], "category": [0], "area": [{}]},
        {"bbox": [BOX], "category": [0], "iscrowd": False},
        {"bbox": [[1, [2, 3]], BOX], "category": [0, 0]},
        [{"bbox": BOX, "category": []}],
        [0],
        {"bbox": [[10**400] * 4], "category": [0]},
    ],
)
def test_objects_of_no_known_shape(stored):
    check_row(stored, (9, 9), "xywh", False, True)


@pytest.mark.parametrize("mask", [{"\n": 1}, {"counts": False, "size": [9, 9]}, {"counts": "0", "size": 9}])
def test_masks_of_no_known_shape(mask):
    with pytest.raises(DataError, match=r"^here: [^\n]*$"):
        decode_object_mask(mask, (9, 9), False, "here")


def test_a_decoder_that_raises_what_no_other_does():
    with pytest.raises(BadImageError), reading("here", "image"):
        raise RuntimeError("Failed to decode image: the AV1 data of a damaged AVIF file")
