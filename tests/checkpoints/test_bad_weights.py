"""Files of weights that cannot be used: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

WEIGHTS = [
    pytest.param("fit $tiny --model.weights gone.pth", r"gone\.pth: there is no such file; give the path", id="gone"),
    pytest.param("fit $tiny --model.weights $files", r"files.*: there is no such file; give the path", id="folder"),
    pytest.param("fit $tiny --model.weights /dev/null", r"/dev/null: there is no such file; give", id="dev-null"),
    pytest.param(
        "fit $tiny --model.weights $files/half.pth", r"half\.pth: damaged .*; fetch or save it again", id="half"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/note.txt", r"note\.txt: damaged .*; fetch or save", id="weights-text"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/empty.yaml", r"empty\.yaml: damaged .*; fetch or save", id="no-bytes"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/text.safetensors",
        r"text\.safetensors: not a readable safetensors file .*fetch or save it again",
        id="safetensors-text",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/code.pth",
        r"code\.pth: holds something else than tensors .*would run io\.open\).*only files you trust",
        id="pickle-with-code",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/other.pth",
        r"other\.pth: the weights do not fit this model, nothing was loaded: .*of another shape .*; use the settings",
        id="other-architecture",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/other.pth --model.weights_copy average",
        r"other\.pth: holds no average weights, only raw; leave .*weights_copy.* out",
        id="no-such-copy",
    ),
    pytest.param("fit $tiny --ckpt_path gone.ckpt", r"gone\.ckpt: there is no such file; give the path", id="no-ckpt"),
    pytest.param("test $tiny --ckpt_path $files/half.pth", r"half\.pth: damaged .*; fetch or save", id="ckpt-half"),
    pytest.param(
        "fit $tiny --ckpt_path $files/other.pth",
        r"other\.pth: is not a checkpoint of a training run .*set model\.init_args\.weights instead",
        id="released-file-to-resume",
    ),
    pytest.param(
        "fit $tiny --ckpt_path $files/foreign.ckpt",
        r"foreign\.ckpt: was made by the task 'other\.Model', which is none .*set model\.init_args\.weights",
        id="ckpt-of-another-program",
    ),
    pytest.param(
        "fit $tiny --ckpt_path $files/light.ckpt",
        r"light\.ckpt: was saved without the optimiser's state .*set model\.init_args\.weights",
        id="ckpt-without-optimiser",
    ),
    pytest.param(
        "validate $tiny --ckpt_path $files/keys.ckpt",
        r"keys\.ckpt: the weights do not fit this model, nothing was loaded: .*missing .*unknown",
        id="ckpt-with-other-keys",
    ),
    pytest.param(
        "validate $tiny --data.dataset $files/good --data.batch_size 8 --ckpt_path $files/trained.ckpt",
        r"classes of the data are not those of the trained network: x, y are not among 0, .*say nothing about names",
        id="ckpt-for-other-classes",
    ),
    pytest.param(
        "fit $tiny --ckpt_path hpc", r"ckpt_path=hpc: no run .* hpc_ckpt_N.ckpt in .*--ckpt_path FILE", id="ckpt-hpc"
    ),
    pytest.param("test $tiny", r"test has no trained weights to use: give --ckpt_path", id="test-without-weights"),
    pytest.param(
        "predict $tiny --ckpt_path last",
        r"ckpt_path=last: no run .* last.ckpt in runs/tiny; .*--ckpt_path FILE",
        id="last",
    ),
    pytest.param("fit $tiny --ckpt_path", r"--ckpt_path: expected one argument; give it", id="ckpt-path-without-name"),
]


@pytest.mark.parametrize(("arguments", "message"), WEIGHTS)
def test_bad_weights_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
