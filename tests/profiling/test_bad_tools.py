"""Bad input of ``profile``, ``complexity`` and ``convert``: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

TOOLS = [
    pytest.param("convert", r"arguments are required: src, dst; give it", id="convert-nothing"),
    pytest.param(
        "convert $files/other.pth o.pth", r"o\.pth: .*is a \.safetensors file; give it that suffix", id="suffix"
    ),
    pytest.param(
        "convert gone.pth o.safetensors", r"gone\.pth: there is no such file; give the path", id="convert-gone"
    ),
    pytest.param("convert $files/note.txt o.safetensors", r"note\.txt: damaged .*; fetch", id="convert-text"),
    pytest.param("convert $files/code.pth o.safetensors", r"code\.pth: .*only files you trust", id="convert-code"),
    pytest.param(
        "convert $files/other.pth $files/text.safetensors",
        r"text\.safetensors: exists already; remove it or",
        id="exists",
    ),
    pytest.param(
        "convert $files/other.pth no/o.safetensors", r"folder no does not exist; make it first", id="convert-folder"
    ),
    pytest.param(
        "convert $files/other.pth o.safetensors --copy both", r"copy: 'both' .*'raw', 'average'", id="convert-copy"
    ),
    pytest.param(
        "convert $files/other.pth o.safetensors --copy average",
        r"no average weights, only raw; leave copy",
        id="no-ema",
    ),
    pytest.param("profile --model biformer_huge", r"model: 'biformer_huge' .*'biformer_tiny'", id="profile-model"),
    pytest.param(
        "profile --size 0", r"size=0 must be one or two positive numbers, such as 224", id="profile-size-zero"
    ),
    pytest.param(
        "profile --size [1,2,3]", r"size=\[1, 2, 3\] must be one or two positive numbers", id="profile-three-sizes"
    ),
    pytest.param("profile --size big", r"size: 'big' .*expected int, a list of", id="profile-size-text"),
    pytest.param(
        "profile --size 16 --backbone.stem patch",
        r"stage 4 of a 16x16 image: nothing is left",
        id="profile-image-too-small",
    ),
    pytest.param("profile --device cuda", r"device='cuda' is not there; use cpu", id="profile-device"),
    pytest.param("profile --batch_size 0", r"batch_size=0 must be at least 1", id="profile-batch-size"),
    pytest.param("profile --backbone.topk [1,2]", r"topk=\[1, 2\] has 2 values for 4 stages; give", id="profile-topk"),
    pytest.param("profile extra", r"unrecognized arguments: extra; --help", id="profile-extra"),
]

COSTS = [
    pytest.param("complexity --cells {}", r"cells is empty; name at least one network", id="no-cells"),
    pytest.param("complexity --cells bra", r"cells: 'bra' .*expected dict", id="cells-not-a-mapping"),
    pytest.param(
        "complexity --cells '{a: {attention: bra, topk: 99}}'",
        r"cells\.a: stage 1: topk=99 is outside 1\.\.49.*choose",
        id="cell-that-cannot-work",
    ),
    pytest.param("complexity --cells '{a: {attention: ful}}'", r"attention: 'ful' .*'bra', 'full'", id="cell-pattern"),
    pytest.param(
        "complexity --cells '{a: {topkk: 1}}'", r"topkk: there is no such setting; correct", id="cell-unknown"
    ),
    pytest.param("complexity --sizes [0,224]", r"sizes: 0 must be positive; give numbers or", id="sizes-zero"),
    pytest.param("complexity --sizes [224,[64,-1]]", r"sizes: \(64, -1\) must be positive", id="sizes-negative-pair"),
    pytest.param("complexity --sizes [224,224]", r"sizes=\[224, 224\]: .*two areas or more; add", id="sizes-equal"),
    pytest.param("complexity --sizes []", r"sizes=\[\]: .*two areas or more; add a size", id="sizes-empty"),
    pytest.param("complexity --sizes [big]", r"sizes: .*'big'.*expected a list of", id="sizes-text"),
    pytest.param(
        "complexity --cells '{a: {stem: patch}}' --sizes [16,48]",
        r"cells\.a: stage 4 of a 16x16 image: nothing is left of the map",
        id="sizes-too-small",
    ),
    pytest.param("complexity --num_classes -1", r"num_classes=-1 must be at least 0", id="complexity-classes"),
    pytest.param("complexity --out $files", r"complexity\.csv exists already; remove it or choose", id="out-taken"),
    pytest.param("complexity --out $files/note.txt", r"note\.txt: is not a folder; choose another", id="out-is-a-file"),
    pytest.param(
        "profile --backbone.attention deformable --backbone.deform_groups 3",
        r"stage 1: 2 heads do not divide into deform_groups=3; choose a divisor",
        id="profile-deform-groups",
    ),
    pytest.param(
        "profile --backbone.routing best", r"backbone\.routing: 'best' .*'topk', 'random'", id="profile-routing"
    ),
    pytest.param(
        "profile --backbone.regions auto --backbone.topk all --backbone.attention bra",
        r"stage 1: regions=auto .*give topk as a number",
        id="profile-auto-with-all",
    ),
    pytest.param("profile --num_classes -1", r"num_classes=-1 must be at least 0", id="profile-classes"),
]


@pytest.mark.parametrize(("arguments", "message"), [*TOOLS, *COSTS])
def test_bad_input_of_a_tool_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
