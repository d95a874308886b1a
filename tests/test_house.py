"""What must stay true of the code as a whole: its layout, its imports, its cleanliness."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.helpers.documents import documents

ROOT = Path(__file__).parents[1]
KIT = ROOT / "kaggle_kit"

# From the top of the house to its ground: every folder, and every module that lies loose,
# has a level of its own, and imports only from those below.
LEVELS = [
    *("cli", "commands", "run"),
    *("app", "download", "kaggle", "rehearsal", "report", "bundling"),
    *("kernel", "inference"),
    *("local_features", "backends", "retrieval", "training", "model", "demo", "data"),
    *("metrics", "subprocess_call", "config", "storage"),
    *("frameworks", "streams", "progress", "log", "credentials", "escaping", "limits"),
    "errors",
]
ENTRIES = {
    "__init__",
    "__main__",
    "cli",
    "kernel",
    "run",
    "streams",
}  # what a person or a kernel begins with
MOST_LINES = 0.12  # of all, in one folder
WITHOUT_TENSORFLOW = [
    "kaggle_kit.backends.pillow",
    "kaggle_kit.app.export",
    "kaggle_kit.backends.uploads",
    "kaggle_kit.app.answers",
    "kaggle_kit.app.serve",
    "kaggle_kit.cli",
    "kaggle_kit.kaggle.client",
    "kaggle_kit.config",
    "kaggle_kit.download.competition",
    "kaggle_kit.demo.competition",
    "kaggle_kit.data.index",
    "kaggle_kit.data.near_duplicates",
    "kaggle_kit.data.subset",
    "kaggle_kit.download.public_tars",
    "kaggle_kit.training.ray_cluster",
    "kaggle_kit.kaggle.dataset",
    "kaggle_kit.kaggle.doctor",
    "kaggle_kit.kaggle.kernel",
    "kaggle_kit.bundling.leaks",
    "kaggle_kit.storage.manifest",
    "kaggle_kit.bundling.metadata",
    "kaggle_kit.bundling.notice",
    "kaggle_kit.rehearsal.rehearse",
    "kaggle_kit.kaggle.ship",
    "kaggle_kit.kaggle.submit",
    "kaggle_kit.inference.time_budget",
    "kaggle_kit.inference.embedder",
    "kaggle_kit.local_features.rerank",
    "kaggle_kit.local_features.sift",
    "kaggle_kit.retrieval.ranking",
    "kaggle_kit.inference.recogniser",
    "kaggle_kit.kernel",
    "kaggle_kit.bundling.tune",
    "kaggle_kit.local_features.matching",
    "kaggle_kit.retrieval.whitening",
    "kaggle_kit.report.page",
    "kaggle_kit.report.dataset_page",
    "kaggle_kit.run",
    "kaggle_kit.metrics.score",
]
IN_KERNEL = {
    "PIL",
    "filelock",
    "keras",
    "numpy",
    "pandas",
    "pydantic",
    "tensorflow",
    "tqdm",
}
# In Kaggle's image too, for local features alone.
ON_DEMAND = {"cv2", "threadpoolctl"}


def modules() -> list[Path]:
    return sorted(KIT.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or in a function."""
    return imports_in(ast.parse(path.read_text("utf-8")), path)


def imports_in(tree: ast.AST, path: Path) -> set[str]:
    """The same of a piece of that file."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports give full paths"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(name: str) -> str:
    """The folder or loose module that a module is in, or is."""
    return name.split(".")[1] if "." in name else "__init__"


def rooms_that_import() -> dict[str, set[str]]:
    """For each folder and loose module, what it imports of the kit, also for types."""
    found: dict[str, set[str]] = {}
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        names = {n for n in imports_of(path) if n.startswith("kaggle_kit.")}
        rooms = {room_of(n) for n in names} & set(LEVELS)
        found.setdefault(room_of(name), set()).update(rooms - {room_of(name)})
    return found


def test_imports_point_one_way():
    for room, others in rooms_that_import().items():
        if room in ("__init__", "__main__"):
            continue
        above = [o for o in others if LEVELS.index(o) < LEVELS.index(room)]
        assert not above, f"{room} imports {above} from above"


def test_no_module_is_loose_but_those_that_all_use():
    loose = {path.stem for path in KIT.glob("*.py")} - ENTRIES
    users: dict[str, int] = dict.fromkeys(loose, 0)
    for room, others in rooms_that_import().items():
        for other in others & loose - {room}:
            users[other] += 1
    assert all(n >= 2 for n in users.values()), users


def test_every_folder_says_what_belongs_in_it():
    for folder in (path.parent for path in KIT.glob("*/*.py")):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
        assert said, folder


def test_no_folder_holds_most_of_the_kit():
    lines: dict[str, int] = {}
    for path in modules():
        room = path.relative_to(KIT).parts[0]
        n = len(path.read_text("utf-8").splitlines())
        lines[room] = lines.get(room, 0) + n
    room, n = max(lines.items(), key=lambda item: item[1])
    assert n <= MOST_LINES * sum(lines.values()), f"{room}: {n}"


def test_keras_cv_is_behind_two_modules():
    users = {p for p in modules() if any("keras_cv" in n for n in imports_of(p))}
    allowed = {KIT / "model" / "backbones.py", KIT / "data" / "augment.py"}
    assert users and users <= allowed


def test_tensorflow_and_keras_are_behind_one_module():
    """It imports them so that leftovers of other projects change nothing."""
    users = {
        path.name
        for path in modules()
        for line in path.read_text("utf-8").splitlines()
        if line.strip().startswith(("import ", "from "))
        and line.split()[1] in ("keras", "tensorflow")
    }
    assert users == {"frameworks.py"}


def test_image_files_are_decoded_by_few_modules():
    """``image_files`` has the list of formats; ``shard_file`` reads the kit's own JPEGs."""
    calls = {
        r"\bImage\.open\(": {"data/image_files.py"},
        r"\btf\.(io|image)\.decode_jpeg\(": {"data/decode.py", "data/shard_file.py"},
        r"\btf\.(io|image)\.decode_(image|png|gif|bmp|webp)\(": set(),
        r"\b(imread|imdecode|load_img|exif_transpose)\(": set(),
    }
    texts = {path.relative_to(KIT).as_posix(): path.read_text() for path in modules()}
    for call, allowed in calls.items():
        assert {n for n, text in texts.items() if re.search(call, text)} == allowed, (
            call
        )


def test_ray_is_behind_one_module():
    users = {p.name for p in modules() if any(n == "ray" for n in imports_of(p))}
    assert users == {"ray_cluster.py"}


def test_these_modules_do_not_import_tensorflow():
    """All in one process: none brings it in, so none does alone."""
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TENSORFLOW}:\n"
        "    importlib.import_module(name)\n"
        "    if 'tensorflow' in sys.modules: sys.exit(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("function", "allowed"),
    [
        ("infer", IN_KERNEL | ON_DEMAND),
        ("train", IN_KERNEL | {"h5py", "keras_cv", "PIL", "scipy"}),
    ],
)
def test_what_runs_in_the_kernel_needs_only_what_is_promised(function, allowed):
    """From the entry's own imports and those of one of its functions on."""
    body = ast.parse((KIT / "kernel.py").read_text("utf-8")).body
    (of_function,) = [n for n in body if getattr(n, "name", "") == function]
    of_module = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    found = imports_in(ast.Module([*of_module, of_function], []), KIT / "kernel.py")
    waiting = {name for name in found if name.startswith("kaggle_kit.")}
    tops = {name.split(".")[0] for name in found - waiting} - {"kaggle_kit"}
    assert waiting and tops <= sys.stdlib_module_names
    seen: set[str] = set()
    outside = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = ROOT / Path(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.exists():
            continue
        if name == "kaggle_kit":  # imports nothing but for types, or when it is asked
            continue
        is_files = name == "kaggle_kit.config.files"
        lazy = {"yaml", "kaggle_kit.config.yaml_text"} if is_files else set()
        for found in imports_of(path):
            if found.startswith("kaggle_kit"):
                waiting |= {found} - seen - lazy
            elif found.split(".")[0] not in sys.stdlib_module_names:
                outside |= {found.split(".")[0]} - lazy
    assert outside <= allowed


def test_the_kernel_does_without_keras_cv_and_unless_asked_without_opencv():
    code = (
        "import sys; sys.modules['cv2'] = None; import kaggle_kit.inference.predict;"
        "print([n for n in ('keras_cv',) if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_kernel_scripts_are_thin_and_offline():
    for metadata in ROOT.glob("kernels/*/kernel-metadata.json"):
        values = json.loads(metadata.read_text("utf-8"))
        script = metadata.parent / values["code_file"]
        assert len(script.read_text("utf-8").splitlines()) < 55
        assert values["enable_internet"] is False
        assert values["title"] == values["id"].split("/")[1]


@pytest.mark.parametrize("tool", [["ruff", "check"], ["ruff", "format", "--check"]])
def test_code_is_clean_for_ruff(tool):
    command = [sys.executable, "-m", *tool, "kaggle_kit", "tests", "kernels"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_code_is_clean_for_mypy():
    command = [sys.executable, "-m", "mypy"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_public_functions_say_what_they_do():
    silent = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.col_offset:
                continue
            if not node.name.startswith("_") and ast.get_docstring(node) is None:
                silent.append(f"{path.name}: {node.name}")
    assert silent == []


# Objects whose keys are not the kit's: settings, JSON as it is written, Keras, arguments.
FREE = {
    *("as_json", "_fields_as_json", "get_config", "parse_changes", "_checked_changes"),
    *(
        "_read_yaml",
        "_merge",
        "flatten",
        "_read_constants",
        "_read_json",
        "dataset_metadata",
    ),
    *("call_pages", "_nodes", "list_parts", "list_views"),
}


def test_no_stage_returns_an_untyped_dict():
    untyped = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                returned = ast.unparse(node.returns)
                if "dict[str, Any]" in returned and node.name not in FREE:
                    untyped.append(f"{path.name}: {node.name} -> {returned}")
    assert untyped == []


def test_constraints_agree_with_the_requirements():
    """Every version that is pinned for parity is one that setup.cfg allows."""
    from configparser import ConfigParser

    from packaging.requirements import Requirement

    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    required = {
        (requirement := Requirement(line)).name.lower(): requirement.specifier
        for line in parser["options"]["install_requires"].split("\n")
        if line
    }
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)
    for name in required.keys() & pinned.keys():
        assert pinned[name] in required[name], name
    from kaggle_kit.rehearsal.kaggle_image import VERSIONS

    assert pinned.items() >= VERSIONS.items()


def test_wheel_carries_all_that_it_needs(tmp_path):
    """Built from the checkout: library, configs and kernels; nothing else at its top."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w"]
    copy = tmp_path / "checkout"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    with (copy / "LICENSE").open("a", encoding="utf-8") as file:
        file.write("of this very wheel\n")
    subprocess.run([*command, str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in modules():
        assert path.relative_to(ROOT).as_posix() in inside
    for path in [*KIT.rglob("*.css"), *KIT.rglob("*.js"), KIT / "keras.json"]:
        assert path.relative_to(ROOT).as_posix() in inside
    for path in ROOT.glob("configs/*.yaml"):
        assert f"kaggle_kit/configs/{path.name}" in inside
    kernels = list(ROOT.glob("kernels/*/*"))
    assert {path.parent.name for path in kernels} == {"inference", "training"}
    for path in kernels:
        assert f"kaggle_kit/kernels/{path.parent.name}/{path.name}" in inside
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "from kaggle_kit.storage.files import package_path; print(package_path('configs/demo.yaml'))"
    shown = subprocess.check_output(
        [sys.executable, "-S", "-c", code], cwd=tmp_path / "installed", text=True
    )
    assert Path(shown.strip()).is_relative_to(tmp_path / "installed")
    assert Path(shown.strip()).is_file()
    (tmp_path / "mine.yaml").write_text("extends: r50_64.yaml\nname: mine\n")
    code = (
        "from pathlib import Path; from kaggle_kit import config;"
        "from kaggle_kit.rehearsal.kernel_folder import find_kernel;"
        "print(config.load(Path('mine.yaml')).name, find_kernel(Path('kernels/training')))"
    )
    shown = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        text=True,
    )
    installed = tmp_path / "installed" / "kaggle_kit" / "kernels" / "training"
    assert shown.split() == ["mine", str(installed)]
    code = "from kaggle_kit.bundling.notice import licence_text; print(licence_text())"
    licence = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=tmp_path / "installed",
        env={**os.environ, "PYTHONPATH": ""},
        text=True,
    )
    assert licence.strip().endswith("of this very wheel")
    tops = {name.split("/")[0] for name in inside}
    assert tops - {"kaggle_kit"} == {t for t in tops if t.endswith(".dist-info")}


def test_pyproject_is_the_smallest():
    values = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(values) == {"build-system"}


def test_project_names_no_machine_and_no_registry():
    pattern = re.compile(
        r"(?<![\w.$}])/(work|root|home/\w+)/|files\.pythonhosted|pypi\.org"
    )
    hidden = [*ROOT.glob(".github/**/*.yml"), *ROOT.glob(".ci/*")]
    texts = [*modules(), *documents(), *ROOT.glob("*.*"), *hidden]
    for path in [*texts, *ROOT.glob("configs/*")]:
        found = pattern.search(path.read_text("utf-8")) if path.is_file() else None
        assert found is None, f"{path}: {found}"
