"""Offline landmark training: resumes from the previous version, stops before the limit."""

import hashlib
import json
import os
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

START = time.monotonic()
VERSION = "0.2.0"  # the version of kaggle_kit that published this kernel
INTERFACE = 2  # kaggle_kit.kernel.INTERFACE that this kernel was written for
SOURCES = {}  # competition, bundle, earlier: push, ship and rehearse tell which
STOP_S = float(os.environ.get("KAGGLE_KIT_STOP_AFTER_S", "41400"))  # 11.5 of 12 hours
INPUT = Path(os.environ.get("KAGGLE_KIT_INPUT", "/kaggle/input"))


def find_bundles() -> dict[str, Path]:
    """Bundles by the hash of their manifest. Kaggle mounts inputs at varying depths."""
    found = {}
    for top, folders, files in os.walk(INPUT, followlinks=True):
        is_found = "kit-manifest.json" in files
        if is_found:
            manifest = Path(top, "kit-manifest.json").read_bytes()
            found[hashlib.sha256(manifest).hexdigest()] = Path(top)
        is_last = is_found or len(Path(top).relative_to(INPUT).parts) == 5
        folders[:] = [] if is_last else sorted(set(folders) - {"train", "test"})
    return found


found = find_bundles()
fitting = [kit for h, kit in found.items() if h == SOURCES.get("bundle", h)]
fitting = [kit for kit in fitting if not (kit / "gallery").exists()] or fitting
if len(fitting) != 1:
    kits = " and ".join(f"{kit} ({h[:12]})" for h, kit in found.items())
    raise SystemExit(
        f"{INPUT}: expected one bundle ({SOURCES.get('bundle', 'any')[:12]}), found "
        f"{kits or 'no folder with kit-manifest.json'}; attach only the one that is "
        f"meant, and push the kernel again with kaggle-kit push"
    )
bundle = fitting[0]
if not (bundle / "kaggle_kit" / "kernel.py").exists():
    manifest = json.loads((bundle / "kit-manifest.json").read_text("utf-8"))
    version = manifest.get("kit", {}).get("version", "an unknown version")
    remedy = "make the bundle again with kaggle-kit bundle and publish it"
    raise SystemExit(f"kernel of kaggle_kit {VERSION}, bundle of {version}: {remedy}")
spec = spec_from_file_location("kaggle_kit", bundle / "kaggle_kit/__init__.py")
sys.modules["kaggle_kit"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["kaggle_kit"])  # no other file hides a module
from kaggle_kit import kernel  # the only module that a kernel imports

kernel.check(VERSION, INTERFACE)
kernel.train(INPUT, bundle, START + STOP_S, SOURCES)
