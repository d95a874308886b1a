"""A kernel folder of somebody else: its metadata lead to nothing outside of it."""

import json
import shutil
from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.kernel import plan_push, push, send
from kaggle_kit.rehearsal.kernel_folder import (
    METADATA,
    find_code_file,
    read_kernel_metadata,
)
from kaggle_kit.rehearsal.rehearse import rehearse
from tests.helpers.complaints import check_complaint
from tests.helpers.kernel_inputs import KERNELS

DATASET = "tester/landmark-kit"
CODE = "landmark-inference.py"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A copy of the kit's kernel, below which and beside which are secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        client, "call", lambda *_, **__: pytest.fail("Kaggle was asked")
    )
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    return Path(shutil.copytree(KERNELS / "inference", tmp_path / "kernel"))


def change(kernel: Path, **values: object) -> None:
    path = kernel / METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "code_file",
    [
        *("../secret.py", "..", ".", "", "/etc/passwd", "../x/y", "sub/code.py"),
        *("sub\\code.py", "a\x00.py", "a\n.py", METADATA, "C:code.py", "x" * 300),
    ],
)
def test_a_code_file_is_a_name_in_the_folder(code_file, kernel, tmp_path):
    (kernel / "sub").mkdir()
    (kernel / "sub" / "code.py").write_text("pass\n")
    change(kernel, code_file=code_file)
    before = sorted(tmp_path.rglob("*"))
    for act in (plan_push, push):
        with pytest.raises(ArtefactError) as caught:
            act(kernel, dataset=DATASET)
        check_complaint(caught.value, kernel / METADATA)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["../secret.py", "/etc/hostname", "../kernel2/x.py"])
@pytest.mark.parametrize("name", [CODE, METADATA])
def test_a_link_that_leads_out_is_neither_sent_nor_read(
    name, target, kernel, tmp_path, settings
):
    (tmp_path / "kernel2").mkdir()
    (tmp_path / "kernel2" / "x.py").write_text("SECRET = 1\n")
    metadata = read_kernel_metadata(kernel)
    (kernel / name).unlink()
    (kernel / name).symlink_to(target)
    acts = [lambda: plan_push(kernel, dataset=DATASET)]
    if name == CODE:
        acts += [
            lambda: find_code_file(kernel, metadata),
            lambda: send(kernel, metadata, {}),
        ]
    for act in acts:
        with pytest.raises(ArtefactError) as caught:
            act()
        check_complaint(caught.value, kernel)
        assert "SECRET" not in str(caught.value)


def test_a_link_within_the_folder_and_to_the_folder_are_followed(kernel, tmp_path):
    (kernel / CODE).rename(kernel / "code.py")
    (kernel / CODE).symlink_to("code.py")
    (tmp_path / "link").symlink_to(kernel)
    for folder in (kernel, tmp_path / "link"):
        plan = plan_push(folder, dataset=DATASET)
        assert plan.metadata.code_file == CODE


@pytest.mark.parametrize("kind", ["dataset_sources", "kernel_sources", "model_sources"])
@pytest.mark.parametrize(
    "source",
    ["--path=/", "-p", "owner", "../x", "o/../x", "o/-x", "o/x\n", "o/x y", ""],
)
def test_a_source_is_no_option_of_the_client_and_no_path(kind, source, kernel):
    change(kernel, **{kind: [source]})
    with pytest.raises(ArtefactError) as caught:
        plan_push(kernel)
    check_complaint(caught.value, kernel / METADATA)


@pytest.mark.parametrize(
    "source",
    ["owner/slug", "Owner_1/a-b/3", "o/model/keras/v1.2/4", "INSERT_OWNER/kit-x"],
)
def test_sources_as_kaggle_names_them_are_taken(source, kernel):
    change(kernel, model_sources=[source])
    assert read_kernel_metadata(kernel).model_sources == [source]


def test_a_rehearsal_refuses_such_a_kernel_before_it_writes(
    kernel, bundle_dir, competition, tmp_path
):
    (kernel / CODE).unlink()
    (kernel / CODE).symlink_to("../secret.py")
    with pytest.raises(ArtefactError) as caught:
        rehearse(bundle_dir, competition, tmp_path / "out", kernel=kernel)
    check_complaint(caught.value, kernel)
    assert not (tmp_path / "out").exists()
