"""Study files and bundles of strangers: a study, or one clear error."""

import io
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from fuzzing import VALUES, damaged, fuzz, mutate, one_line
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "sweep"))

from finished_studies import finished_study

from biformer_lit.cli import main
from biformer_lit.errors import BiFormerLitError, ConfigError
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.write import write_report
from biformer_lit.sweep.spec.cells import plan_cells
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import StudySpec

STUDIES = sorted((Path(__file__).parents[2] / "sweeps/digits").glob("*.yaml"))
WHOLE = [yaml.safe_load(path.read_text()) for path in STUDIES]


def check_spec(path, content):
    path.write_bytes(content)
    try:
        spec = read_spec(path)
        cells = plan_cells(spec) if spec.plan != "search" else []
    except ConfigError as error:
        one_line(error)
    else:
        assert isinstance(spec, StudySpec)
        assert len({cell.name for cell in cells}) == len(cells)
        assert StudySpec(**vars(spec)).digest() == spec.digest()


@fuzz(100, data=st.data())
def test_a_study_file(tmp_path, data):
    values = mutate(data.draw, data.draw(st.sampled_from(WHOLE)), VALUES)
    check_spec(tmp_path / "s.yaml", yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "replace"))


@fuzz(100, content=damaged([path.read_bytes() for path in STUDIES]))
def test_the_text_of_a_study_file(tmp_path, content):
    check_spec(tmp_path / "s.yaml", content)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Member to content of a bundle of four trials."""
    folder = finished_study(
        tmp_path_factory.mktemp("study") / "study",
        factors={"k": {"key": "model.backbone.topk", "values": {"one": 1, "two": 2}}},
        baseline={"k": "one"},
        seeds=[0, 1],
    )
    place = folder.parent / "study.zip"
    main(["sweep", "export", str(folder), "--bundle", str(place)])
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "tfevents" not in name}


def packed(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole_bundle(bundle):
    return packed(bundle)


def check_bundle(tmp_path, content, tell):
    place = tmp_path / "b.zip"
    place.write_bytes(content)
    before = set(tmp_path.iterdir())
    try:
        with unpacked(place) as folder:
            tell(folder)
    except BiFormerLitError as error:
        one_line(error)
    assert set(tmp_path.iterdir()) == before


@fuzz(40, data=st.data())
def test_a_damaged_bundle(tmp_path, bundle, whole_bundle, data):
    content = data.draw(damaged([whole_bundle]))
    check_bundle(tmp_path, content, lambda folder: None)


@fuzz(6, data=st.data())
def test_damaged_files_in_a_bundle(tmp_path, tmp_path_factory, bundle, monkeypatch, data):
    monkeypatch.setattr("biformer_lit.sweep.report.write.write_figures", lambda *_: {}, raising=False)
    name = data.draw(st.sampled_from(sorted(bundle)))
    members = {**bundle, name: data.draw(damaged([bundle[name]]))}
    out = tmp_path_factory.mktemp("out")
    check_bundle(tmp_path, packed(members), lambda folder: write_report(folder, out, lambda line: None))
