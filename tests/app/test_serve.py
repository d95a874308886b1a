"""Errors are reported before heavy packages are imported."""

import socket
import subprocess
import sys

import pytest

from kaggle_kit.app import serve as module
from kaggle_kit.app.serve import serve
from kaggle_kit.cli import main
from kaggle_kit.errors import DataError, KitError


def test_without_the_extra_the_error_says_what_to_install(bundle_dir, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(KitError, match=r"pip install 'kaggle-kit\[app\]'"):
        serve(bundle_dir, 8501, None)


def test_a_port_in_use_is_refused(bundle_dir, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(KitError, match=f"--port {port}: expected a free port"):
            serve(bundle_dir, port, None)


def test_images_that_are_no_competition_are_refused(bundle_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    with pytest.raises(DataError, match="expected train"):
        serve(bundle_dir, 8501, tmp_path)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path, capsys):
    assert main(["app", "--bundle", str(tmp_path)]) == 1
    assert "expected a bundle, found no kit-manifest.json" in capsys.readouterr().err


def test_the_command_line_does_not_import_streamlit():
    code = (
        "import sys; from kaggle_kit import cli; import kaggle_kit.app.serve\n"
        "print([n for n in ('streamlit', 'ai_edge_litert') if n in sys.modules])"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.strip() == "[]"
