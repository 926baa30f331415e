"""Bad input of ``sweep``: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

STUDIES = [
    pytest.param("sweep", r"arguments are required: command; give it", id="sweep-without-command"),
    pytest.param("sweep walk", r"invalid choice: 'walk' .*choose from .*run", id="sweep-wrong-command"),
    pytest.param("sweep run", r"arguments are required: study; give it", id="sweep-without-study"),
    pytest.param("sweep run nope.yaml", r"nope\.yaml: No such file or directory; give the path", id="sweep-no-file"),
    pytest.param("sweep run $files/malformed.yaml", r"malformed\.yaml: line 2: not YAML", id="sweep-malformed"),
    pytest.param("sweep run $files/study_key.yaml", r"study_key\.yaml: .*plann.*did you mean plan", id="sweep-key"),
    pytest.param("sweep run $files/study_cell.yaml", r"cell .*topk=99.* regions", id="sweep-cell-that-cannot-be"),
    pytest.param(
        "sweep run $files/study_setting.yaml",
        r"cell topk=1 .*backbone\.topkk.*--help lists",
        id="sweep-unknown-setting",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --workers 0", r"workers: 0 is not a whole number above 0", id="sweep-workers"
    ),
    pytest.param(
        "sweep run $files/topk.yaml --frobnicate", r"unrecognized argument: --frobnicate", id="sweep-argument"
    ),
    pytest.param("sweep run $files/topk.yaml --data.seed", r"--data\.seed needs a value; give it", id="sweep-no-value"),
    pytest.param(
        "sweep run $files/topk.yaml --model.backbone.topk 2",
        r"factors\.topk varies model\.backbone\.topk",
        id="sweep-varied",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0,1,2 --devices-per-trial 2",
        r"3 devices do not divide",
        id="sweep-devices",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0,0",
        r"--devices 0,0: names a device twice; remove one",
        id="sweep-twice",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0 --workers 2",
        r"make 1 slots of 1; give more devices",
        id="sweep-places",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --storage nope://x",
        r"storage=nope://x: cannot be opened .*check",
        id="sweep-storage",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --storage grpc://x",
        r"grpc://x: is not grpc://HOST:PORT; give both",
        id="sweep-proxy",
    ),
    pytest.param("sweep status $files", r"holds no study that was run; give its folder", id="sweep-status-of-nothing"),
    pytest.param("sweep report $files", r"holds no study that was run; give its folder", id="sweep-report-of-nothing"),
    pytest.param("sweep report nope.zip", r"nope\.zip: No such file; give the bundle", id="sweep-report-no-bundle"),
    pytest.param("sweep report $files/broken.zip", r"broken\.zip: cannot be unpacked", id="sweep-report-broken-bundle"),
    pytest.param("sweep report $files/empty.zip", r"empty\.zip: holds 0 studies, not one", id="sweep-report-empty"),
    pytest.param("sweep compare $files/topk.yaml", r"takes at least two studies; give another", id="sweep-compare-one"),
    pytest.param("sweep compare a b", r"a: holds no study that was run; give its folder", id="sweep-compare-nothing"),
    pytest.param(
        "sweep export $files/topk.yaml --checkpoints", r"--checkpoints belongs to --bundle", id="sweep-checkpoints"
    ),
    pytest.param(
        "sweep export $files/topk.yaml --bundle $files/empty.zip", r"exists already; choose another", id="sweep-bundle"
    ),
    pytest.param(
        "sweep export $files/topk.yaml", r"holds no study that was run; give its", id="sweep-export-of-nothing"
    ),
    pytest.param(
        "sweep status x --workers 2", r"unrecognized arguments: --workers 2; --help", id="sweep-status-argument"
    ),
]


@pytest.mark.parametrize(("arguments", "message"), STUDIES)
def test_a_bad_study_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
