"""Bad configs by generation: settings, or one line that names the file."""

import json
import os
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import seed as seeded
from hypothesis import strategies as st

from kaggle_kit import cli, config
from kaggle_kit.config import Config
from kaggle_kit.errors import ConfigError
from kaggle_kit.storage.files import package_path
from tests.helpers.complaints import check_complaint, steady
from tests.helpers.fuzzing import run_blocks

# What YAML makes odd values of, or programs fail at.
ODD = [
    *("!!python/object/apply:os.system [touch hacked]", "!!python/name:os.system"),
    *("!!python/object/new:subprocess.Popen [[touch, hacked]]", "!!bool x", "!!int ''"),
    *("!!float x", "!!timestamp x", "!!binary '%'", "!!set [1]", "!!omap 3", "!x y"),
    *("2021-13-45", "2021-02-30 25:61:61", "9" * 5000, "0b_", "0x_", "1e400", ".nan"),
    *(
        "-.inf",
        "~",
        "''",
        "'\\0'",
        '"\\ud800"',
        "[" * 3000,
        "{a: " * 2000,
        "*a",
        "&a [*a]",
    ),
    *(
        "&a {b: *a}",
        "? [1]\n: 2",
        "{[1]: 2}",
        "{1: 2}",
        "<<: 3",
        "|",
        "- -",
        "@",
        "`",
        "%",
    ),
    *("\t", "\0", "\u2028", "x" * 200_000, "[" + "1," * 5000 + "1]"),
]
LAUGHS = "a0: &a0 [ha]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(  # 10^19 keys
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 20)
)
NAMES = [
    *("name", "seed", "subset", "data", "model", "train", "recognition", "extends"),
    *("epochs", "image_size", "landmarks", "head", "weights", "scales", "Name", ""),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(string.printable, max_size=8),
    st.sampled_from(["../x.yaml", "/etc/passwd", "/dev/zero", "a\0b", "resnet50"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A config in a folder that is the working one: a hack would be seen there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config.yaml"


def check_load(path, content, tried, load=config.load):
    """Settings that are in range, or one line; and nothing but the file is there."""
    path.write_bytes(content)
    tried["configs, each settings or one line"] += 1
    try:
        found = load(path)
    except ConfigError as error:
        tried["bad configs, each one line"] += 1
        check_complaint(error, path.parent, "/dev/zero", "/etc/passwd")
        found = None
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    if found is not None:
        assert found == Config.model_validate(found.model_dump())
    return found


@pytest.mark.parametrize(
    "n", [pytest.param(150, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_generated_config_is_what_pydantic_makes_of_it(n, path, tried):
    def block(first, length, meter):
        @seeded(first)
        @steady(length, derandomize=False)
        @given(values=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
        def check(values):
            content = yaml.safe_dump(values, allow_unicode=True).encode()
            with meter.attempt(content):
                found = check_load(path, content, meter.counts)
            if "extends" in values and values["extends"] is not None:
                assert found is None  # there is no other file
                return
            plain = {k: v for k, v in values.items() if k != "extends"}
            try:
                expected = Config.model_validate(plain)
            except ValueError:
                expected = None
            assert found == expected

        check()

    run_blocks("yaml-generated", n, block, tried, seconds=3, megabytes=200)


@pytest.mark.parametrize(
    "n", [pytest.param(400, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_changed_config_of_the_kits_is_settings_or_one_line(n, path, tried):
    originals = [p.read_bytes() for p in sorted(package_path("configs").glob("*.yaml"))]
    originals = [content.replace(b"extends:", b"#") for content in originals]
    odd = [text.encode("utf-8", "surrogatepass") for text in (*ODD, LAUGHS, MERGED)]

    def block(first, length, meter):
        @seeded(first)
        @steady(length, derandomize=False)
        @given(data=st.data(), content=st.sampled_from(originals))
        def check(data, content):
            for _ in range(data.draw(st.integers(1, 3))):
                at = data.draw(st.integers(0, len(content)))
                cut = data.draw(st.integers(0, 3))
                piece = data.draw(st.binary(max_size=2) | st.sampled_from(odd))
                content = content[:at] + piece + content[at + cut :]
            with meter.attempt(content):
                check_load(path, content, meter.counts)

        check()

    run_blocks("yaml-changed", n, block, tried, seconds=10, megabytes=300)


BOMBS = {
    "60,000 keys": "".join(f"k{i}: {i}\n" for i in range(60_000)),
    "5,000 keys": "".join(f"k{i}: {i}\n" for i in range(5000)),
    "a set of 5,000": f"name: !!set {{{','.join(f'k{i}' for i in range(5000))}}}",
    "merged aliases": MERGED,
    "many aliases": "a: &a {b: 1}\nc: [" + "*a," * 15_000 + "]",
    "a number to the base 60": "name: x\nseed: 1" + ":1" * 30_000,
    "a number of 60,000 digits": "name: x\nseed: " + "9" * 60_000,
    "a float of 60,000 digits": "name: x\nseed: 0." + "9" * 60_000,
    "brackets": "[" * 60_000,
    "dashes": "- " * 30_000,
    "questions": "{" + "?," * 30_000 + "}",
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_config_that_would_take_minutes_is_refused(what, path, tried):
    """Beside the settings, each part takes quadratic or exponential time as it grows."""

    def block(first, length, meter):
        with meter.attempt(what):
            assert check_load(path, BOMBS[what].encode(), meter.counts) is None

    run_blocks(None, 1, block, tried, seconds=10, megabytes=150)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "terabyte"])
@pytest.mark.parametrize("load", [config.load, config.read_json])
def test_a_config_that_is_no_small_regular_file_is_refused(kind, load, path):
    """A pipe would wait for a writer for ever."""
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "terabyte": lambda: (path.touch(), os.truncate(path, 10**12)),
    }
    make[kind]()
    with pytest.raises(ConfigError) as caught:
        load(path)
    check_complaint(caught.value, path)


def test_configs_that_extend_each_other_without_an_end_are_refused(path):
    for i in range(50):
        text = f"name: x\nextends: {i + 1}.yaml\n"
        (path.parent / f"{i}.yaml").write_text(text)
    with pytest.raises(ConfigError, match="at most 20 configs that extend each other"):
        config.load(path.parent / "0.yaml")


def test_anchors_and_merges_of_a_plain_config_are_read(path):
    path.write_text("name: x\nsubset: &a {}\ntrain: {<<: *a, epochs: 3}\n")
    assert config.load(path).train.epochs == 3


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("place", ["{}", "name: {}", "name: x\ntrain: {{epochs: {}}}"])
def test_an_odd_value_is_refused_in_one_line_anywhere(odd, place, path, tried):
    content = place.format(odd).encode("utf-8", "surrogatepass")
    found = check_load(path, content, tried)
    assert found is None or place == "name: {}"


@pytest.mark.parametrize(
    "content",
    [
        "",
        LAUGHS,
        LAUGHS + "name: *a19",
        f"name: x\nsubset:\n  landmarks: &a [{', '.join(['1'] * 9)}]\n{LAUGHS}",
        "name: x\nextends: /dev/zero",
        "name: x\nextends: .",
        'name: x\nextends: "a\\0b"',
        "name: x\nextends: " + "x" * 5000,
        "name: x\nextends: config.yaml",
        "name: x\ntrain: {epochs: 1}\ntrain: {batch_size: 2}",
        "name: x\ntrain: {epochs: 1, epochs: 2}",
        "name: x\nname: y",
        "\ufeff\ufeffname: x",
        "name: x\n---\nname: y",
    ],
    ids=range(14),
)
def test_a_trick_is_refused_in_one_line(content, path, tried):
    assert check_load(path, content.encode(), tried) is None


def test_sections_within_themselves_are_refused_also_when_they_are_merged(path):
    (path.parent / "base.yaml").write_text("name: x\ntrain: &a {schedule: *a}\n")
    path.write_text("extends: base.yaml\ntrain: &a {schedule: *a}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    check_complaint(caught.value, path)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_editors_write_is_read(codec, end, path):
    path.write_bytes(f"name: x{end}train:{end}  epochs: 3{end}".encode(codec))
    assert config.load(path).train.epochs == 3


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_value_of_set_is_refused_in_one_line(odd):
    changed = "a"
    try:
        changed = config.parse_setting(f"train.epochs={odd}")
        config.override(Config(name="x"), dict([changed]))
    except ConfigError as error:
        assert str(error).isprintable()
        return
    assert changed == ("train.epochs", None)  # refused as well, were it a number


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"3", b"null", b'{"name": 3}', b"\xff", b'{"name": "\\ud800"}'),
        *(b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}", b'{"name": "x"} x'),
        *(b'{"name": "x", "train": {"learning_rate": NaN}}', b'{"seed": 1e400}'),
        *(b'{"a":' * 50_000, b"name: x", b'{"name": "x", "seed": Infinity}'),
        *(b'{"name": "x", "name": "y"}', b'{"name": "x", "train": {"a": 1, "a": 1}}'),
    ],
    ids=range(17),
)
def test_a_damaged_config_of_a_run_is_one_line(content, tmp_path, tried):
    path = tmp_path / "config.json"
    assert check_load(path, content, tried, config.read_json) is None


@pytest.mark.parametrize("n", [300])
def test_a_generated_config_of_a_run_is_what_pydantic_makes_of_it(n, tmp_path, tried):
    path = tmp_path / "config.json"
    good = Config(name="x").model_dump(mode="json")

    @steady(n)
    @given(section=st.sampled_from(sorted(good)), value=VALUES)
    def check(section, value):
        content = json.dumps(good | {section: value}).encode()
        found = check_load(path, content, tried, config.read_json)
        try:
            expected = Config.model_validate_json(content)
        except ValueError:
            expected = None
        assert expected is None or found == expected

    check()


def test_the_command_line_ends_with_one_line(path, capsys):
    path.write_text("name: !!python/object/apply:os.system [touch hacked]\n")
    code = cli.main(
        ["subset", "--config", str(path), "--competition", "x", "--out", "y"]
    )
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"kaggle-kit subset: {path}: expected YAML settings")
    assert [p.name for p in path.parent.iterdir()] == ["config.yaml"]
