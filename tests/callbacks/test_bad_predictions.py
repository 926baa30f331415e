"""Places where predictions cannot go: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

PREDICTIONS = [
    pytest.param(
        "predict $tiny --predictions.path $files/note.txt --model.weights $files/trained.ckpt",
        r"predictions\.path=.*note\.txt exists already; choose another file",
        id="predictions-exist",
    ),
    pytest.param(
        "predict $tiny --predictions.path gone/p.csv --model.weights $files/trained.ckpt",
        r"predictions\.path=.*folder gone does not exist; make",
        id="no-folder",
    ),
    pytest.param(
        "predict $tiny --data.dataset $files/bare --model.weights $files/other.pth",
        r"num_classes is unknown, for the data is not labelled: give --ckpt_path, or set",
        id="classes-of-unlabelled-images",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), PREDICTIONS)
def test_a_bad_place_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
