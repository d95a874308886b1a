"""An upload contains no private paths and no credentials."""

import json
from pathlib import Path

import pytest

from kaggle_kit.bundling.leaks import check_no_leaks
from kaggle_kit.errors import ArtefactError

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, and an environment without credentials."""
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    home = tmp_path / "home" / "someone"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bundle" / "model").mkdir(parents=True)
    (tmp_path / "bundle" / "config.json").write_text('{"name": "a"}')
    return tmp_path / "bundle"


def refuse(folder, places=()):
    """Check that a folder is refused, and return the message."""
    with pytest.raises(ArtefactError) as error:
        check_no_leaks(folder, places)
    return str(error.value)


def test_a_folder_without_leaks_passes(folder, home):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(
        f'{{"username": "a", "key": "{KEY}"}}'
    )
    check_no_leaks(folder, [Path("run"), folder])


@pytest.mark.parametrize("name", ["notes.md", "model/saved_model.pb", "model.tflite"])
def test_a_path_of_this_machine_is_found_in_any_file(folder, home, tmp_path, name):
    for path in (home, tmp_path / "run"):
        (folder / name).write_bytes(b"\x00\x12" + str(path).encode() + b"/x.py\x00")
        line = refuse(folder, [tmp_path / "run"])
        assert line.startswith(f"{name}: ") and str(path) in line


def test_a_relative_path_is_searched_as_an_absolute_one(
    folder, home, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (folder / "a.csv").write_text(f"id\n{tmp_path}/run/x\n")
    assert "a.csv" in refuse(folder, [Path("run")])


def test_a_part_of_another_path_is_no_leak(folder, home, monkeypatch):
    monkeypatch.setenv("HOME", "/rooty")
    for text in (
        "see https://x.org/rooty",
        "a/rooty",
        "/rooty-2/x",
        "/rootyx",
        "./rooty",
    ):
        (folder / "a.md").write_text(text)
        check_no_leaks(folder, [])
    for text in ("/rooty", "x=/rooty/y", '"/rooty"', "a/rooty /rooty"):
        (folder / "a.md").write_text(text)
        refuse(folder)


@pytest.mark.parametrize(
    "path", [".kaggle/kaggle.json", ".config/kaggle/kaggle.json", "moved/kaggle.json"]
)
def test_the_key_of_the_user_is_found_and_not_quoted(folder, home, monkeypatch, path):
    (home / path).parent.mkdir(parents=True)
    (home / path).write_text(json.dumps({"username": "someone", "key": KEY}))
    if path.startswith("moved"):
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "moved"))
    (folder / "model" / "x.pb").write_bytes(b"\x01" + KEY.encode())
    line = refuse(folder)
    assert "model/x.pb" in line and "kaggle.json" in line and KEY not in line


@pytest.mark.parametrize("name", ["KAGGLE_KEY", "KAGGLE_API_TOKEN"])
def test_a_secret_of_the_environment_is_found_and_not_quoted(
    folder, home, monkeypatch, name
):
    monkeypatch.setenv(name, "very-secret")
    (folder / "a.py").write_text("x = 'very-secret'")
    line = refuse(folder)
    assert name in line and "very-secret" not in line


@pytest.mark.parametrize(
    "text",
    [
        "KGAT_0123456789abcdef",
        '{"username": "x", "key": "y"}',
        '{"username":"x","key":"y"}',
    ],
)
def test_text_in_the_form_of_a_credential_is_found(folder, home, text):
    (folder / "a.txt").write_text(text)
    line = refuse(folder)
    assert "a.txt" in line and text not in line


def test_text_about_tokens_is_no_leak(folder, home):
    (folder / "a.md").write_text("a token begins with KGAT_ and is long")
    check_no_leaks(folder, [])


@pytest.mark.parametrize("place", ["/datasets", "/train", "/data", "/out", "/tmp"])
def test_a_folder_whose_name_is_ordinary_text_is_no_leak(
    folder, home, monkeypatch, place
):
    texts = (
        f"see {{WEB}}{place}/{{slug}}, ROOT{place}/0, the folder {place}, '{place}/'",
        f"Bus at {place} station, {place}/../x, {place}/no-such-file.jpg",
    )
    (folder / "notes.md").write_text("\n".join(texts))
    (folder / "weights.bin").write_bytes(b"\x00\xff" + place.encode() + b"\x00")
    check_no_leaks(folder, [Path(place)])
    monkeypatch.setenv("HOME", "/tmp")  # as in a container
    (folder / "kaggle_kit").mkdir()
    (folder / "kaggle_kit" / "a.py").write_text("SCRATCH = '/tmp'\n")
    check_no_leaks(folder, [Path(place)])


@pytest.fixture
def short(tmp_path):
    """A folder of one part at the top of this machine's tree, which is not ours to make."""
    places = [p for p in map(Path, ("/opt", "/usr", "/var", "/etc")) if p.is_dir()]
    return next((p, next(p.iterdir()).name) for p in places if any(p.iterdir()))


@pytest.mark.parametrize("name", ["a.json", "model/saved_model.pb", "kaggle_kit/a.py"])
def test_what_is_in_such_a_folder_is_a_leak_in_any_file(folder, home, short, name):
    place, entry = short
    (folder / "kaggle_kit").mkdir()
    for end in ("", "/x.jpg", ", and more"):
        (folder / name).write_bytes(b"\x00 '" + f"{place}/{entry}{end}'".encode())
        assert str(place) in refuse(folder, [place])


@pytest.mark.parametrize("n", [48, 65, 80, 97, 122])
def test_a_path_after_its_length_is_found_in_a_saved_model(
    folder, home, monkeypatch, n
):
    """Protocol Buffers put the length before a text, here a byte that looks like a letter."""
    monkeypatch.setenv("HOME", "/rooty")
    path = b"/rooty/model.py".ljust(n, b"x")
    (folder / "saved_model.pb").write_bytes(b"\x00\x0a" + bytes([n]) + path + b"2\x01a")
    assert "/rooty" in refuse(folder)


def test_without_a_home_folder_the_rest_is_found(folder, home, monkeypatch, tmp_path):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    (folder / "a.txt").write_text("nothing")
    check_no_leaks(folder, [tmp_path / "run"])
    (folder / "a.txt").write_text(f"{tmp_path}/run/x")
    assert "a.txt" in refuse(folder, [tmp_path / "run"])
