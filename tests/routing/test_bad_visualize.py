"""Bad input of ``visualize``: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

SEE = "visualize --checkpoint $files/trained.ckpt --image $files/folders/train/x/02.png --out o"
NEEDS = "visualize needs --checkpoint FILE, --image FILE and --out FOLDER"
VISUALIZE = [
    pytest.param("visualize", f"checkpoint: none was given; {NEEDS}", id="visualize-nothing"),
    pytest.param(
        "visualize --checkpoint $files/trained.ckpt --out o", f"image: none was given; {NEEDS}", id="visualize-no-image"
    ),
    pytest.param(f"{SEE} --out null", f"out: none was given; {NEEDS}", id="visualize-nowhere"),
    pytest.param(f"{SEE} --checkpoint gone.ckpt", r"gone\.ckpt: there is no such file; give", id="visualize-gone"),
    pytest.param(f"{SEE} --checkpoint $files/half.pth", r"half\.pth: damaged .*; fetch or save", id="visualize-half"),
    pytest.param(f"{SEE} --checkpoint $files/code.pth", r"code\.pth: .*only files you trust", id="visualize-code"),
    pytest.param(
        f"{SEE} --checkpoint $files/other.pth",
        r"other\.pth: the weights do not fit this model, .*; use the settings of the model",
        id="visualize-other-network",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/keys.ckpt",
        r"the weights do not fit this model, nothing was loaded: 59 missing .*; give the checkpoint of this model",
        id="visualize-other-keys",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/foreign.ckpt",
        r"foreign\.ckpt: was made by a task that is none of this version's; update",
        id="visualize-another-task",
    ),
    pytest.param(
        f"{SEE} --backbone.topk 2",
        r"backbone: .*trained\.ckpt brings its own network along; leave the --backbone options out",
        id="visualize-two-networks",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/other.pth --backbone.depths [1,1] --backbone.dims [32,64] "
        "--backbone.attention full --backbone.topk all",
        r"other\.pth: no stage of this network has bi-level routing .*; give a network that routes",
        id="visualize-without-routing",
    ),
    pytest.param(f"{SEE} --image gone.jpg", r"image=gone\.jpg: there is no such file; give", id="visualize-no-photo"),
    pytest.param(f"{SEE} --image $files", r"image=.*files.*: there is no such file; give", id="visualize-image-folder"),
    pytest.param(
        f"{SEE} --image $files/note.txt",
        r"note\.txt: the image cannot be read \(not an image.*\); give another photo, or save it again",
        id="visualize-image-text",
    ),
    pytest.param(
        f"{SEE} --image $files/folders/train/x/00.png",
        r"00\.png: the image cannot be read \(zero bytes are stored\); give another photo",
        id="visualize-empty-image",
    ),
    pytest.param(
        f"{SEE} --point 1.5,0", r"point=1\.5,0\.0 lies outside the image; give x and y", id="visualize-outside"
    ),
    pytest.param(f"{SEE} --point nan,0", r"point=nan,0\.0 lies outside the image; give x and y", id="visualize-nan"),
    pytest.param(f"{SEE} --point here", r"point='here' is not a point; give x and y", id="visualize-point-text"),
    pytest.param(f"{SEE} --point 0.1", r"point='0\.1' is not a point; give x and y", id="visualize-point-number"),
    pytest.param(f"{SEE} --size 0", r"size=0 must be at least 1, the pixels of .*side", id="visualize-size-zero"),
    pytest.param(f"{SEE} --size big", r"size: 'big' .*expected int", id="visualize-size-text"),
    pytest.param(f"{SEE} --mean [0,0]", r"mean: '\[0, 0\]' .*expected tuple\[", id="visualize-two-means"),
    pytest.param(f"{SEE} --std [0,1,1]", r"std=\[0.*\] must be three finite numbers above 0", id="visualize-std"),
    pytest.param(f"{SEE} --out $files/good", r"out=.*good is not empty, .*; give a new folder", id="visualize-full"),
    pytest.param(f"{SEE} --out $files/note.txt", r"out=.*note\.txt is a file; give a new folder", id="visualize-file"),
    pytest.param(f"{SEE} extra", r"unrecognized arguments: extra; --help", id="visualize-extra"),
]


@pytest.mark.parametrize(("arguments", "message"), VISUALIZE)
def test_bad_input_of_visualize_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
