"""Command lines and configs that cannot be read: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import os
import subprocess
import sys

import pytest
from helpers.bad_input import LOG_LINES, check_message, command_line, left_behind, snapshot

from biformer_lit.cli import run

COMMAND_LINES = [
    pytest.param(
        "",
        r"no command .*use fit, validate, test, predict, profile, complexity, convert, visualize or sweep",
        id="no-command",
    ),
    pytest.param("fitt $tiny", r"subcommand.*'fitt' .*choose from 'fit', .*'convert'", id="wrong-command"),
    pytest.param("fit", r"nothing to train was given: add --config FILE", id="no-config"),
    pytest.param("fit --config", r"--config: expected one argument; give it", id="config-without-name"),
    pytest.param(
        "fit --config nope", r"--config nope: .*neither such a file nor .*recipes are .*cifar10", id="unknown-config"
    ),
    pytest.param("fit --config $files", r"--config .*files.*neither such a file", id="config-is-a-folder"),
    pytest.param("fit --config /dev/null", r"--config /dev/null: .*neither such a file", id="config-is-dev-null"),
    pytest.param("fit $tiny --nonsense 1", r"unrecognized arguments: --nonsense.*--help", id="unknown-argument"),
    pytest.param("fit $tiny --model.backbone.topkk 1", r"backbone\.topkk.*--help", id="unknown-argument-of-model"),
    pytest.param(
        "fit $tiny --data.imagesize 1", r"imagesize: there is no such setting; correct", id="unknown-data-arg"
    ),
]

CONFIG_FILES = [
    pytest.param(
        "fit $tiny --config $files/unknown_group.yaml",
        r"topkk: there is no such setting of backbone; correct it \(--print_config",
        id="unknown-key-in-a-group",
    ),
    pytest.param(
        "fit $tiny --config $files/unknown_trainer.yaml",
        r"trainer\.max_epoch: there is no such setting of fit; correct it",
        id="unknown-key-of-the-trainer",
    ),
    pytest.param(
        "fit $tiny --config $files/unknown_top.yaml", r"traner\.max_epochs: there is no", id="unknown-section"
    ),
    pytest.param(
        "fit $tiny --config $files/malformed.yaml", r"malformed\.yaml: line 2: not YAML .*write", id="malformed"
    ),
    pytest.param("fit $tiny --config $files/tabs.yaml", r"tabs\.yaml: line 2: not YAML .*write", id="tabs"),
    pytest.param(
        "fit $tiny --config $files/list.yaml", r"list\.yaml: holds a list instead of settings; write", id="list"
    ),
    pytest.param(
        "fit $tiny --config $files/twice.yaml", r"twice\.yaml: line 4: lr is given twice; remove one", id="key-twice"
    ),
    pytest.param("fit $tiny --config $files/no_trainer.yaml", r"trainer: None holds no settings; w", id="no-trainer"),
    pytest.param("fit $tiny --config=$files/note.txt", r"note\.txt: holds a str instead of settings; write", id="text"),
    pytest.param("fit $tiny --config $files/empty.yaml", r"empty\.yaml: holds nothing .*; write", id="empty-config"),
    pytest.param("fit $tiny --config $files/bytes.yaml", r"bytes\.yaml: not a text file in UTF-8; write", id="binary"),
]


@pytest.mark.parametrize(("arguments", "message"), [*COMMAND_LINES, *CONFIG_FILES])
def test_a_bad_command_line_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)


# One that the parser sees, one that a constructor sees, and one from the middle of a run, in a data worker.
AS_SUBPROCESS = [
    pytest.param("fit $tiny --data.batch_size 2.5", r"batch_size: '2\.5' .*expected int", id="batch-size-fraction"),
    pytest.param("fit $tiny --model.backbone.topk 5", r"stage 1: topk=5 is outside 1\.\.4.*choose", id="topk-large"),
    pytest.param(
        "fit $tiny --data.dataset $files/cut --data.batch_size 24 --data.num_workers 1",
        r"split 'train', row 5: the image cannot be read .*on_bad_image: skip",
        id="truncated-image-in-a-worker",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), AS_SUBPROCESS)
def test_the_same_in_a_process_of_its_own(arguments, message, root, files, tmp_path):
    before = snapshot(files)
    done = subprocess.run(
        [sys.executable, "-m", "biformer_lit", *command_line(arguments, root, files)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "HF_DATASETS_CACHE": str(tmp_path.parent / "cache"),
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "PYTHONWARNINGS": "ignore::FutureWarning",  # Lightning's of torch, which pytest ignores too
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith(LOG_LINES)]
    check_message("".join(lines), message)
    assert snapshot(files) == before
    assert left_behind(tmp_path) == []


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    def defect():
        raise ValueError("too many values to unpack")

    monkeypatch.setattr("biformer_lit.cli.main", defect)
    with pytest.raises(ValueError, match="too many values to unpack"):
        run()
