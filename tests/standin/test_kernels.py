"""The real client pushes kernels, follows them, and fetches what they leave."""

import json

from tests.helpers.standin.client import FILES, KERNEL, SLUG, kernel_dir


def test_a_kernel_runs_and_leaves_its_output(client, kaggle, tmp_path):
    kaggle.add_dataset("tester/landmark-kit", {"weights.bin": b"1"})
    output = {f"part/{i:02}.txt": b"%d" % i for i in range(25)}
    kaggle.on_push = lambda version: (
        output | {"submission.csv": b"".join(version["inputs"][SLUG].values())},
        "hello\nthere\n",
        "COMPLETE",
    )
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert told.startswith("Kernel version 1 successfully pushed.")
    for shown in ("QUEUED", "RUNNING", "COMPLETE", "COMPLETE"):
        assert (
            f'has status "KernelWorkerStatus.{shown}"'
            in client("kernels", "status", KERNEL).stdout
        )
    out = tmp_path / "output"
    client("kernels", "output", KERNEL, "-p", out)
    assert (out / "submission.csv").read_bytes() == b"".join(FILES.values())
    assert (out / "part" / "24.txt").read_bytes() == b"24"
    log = json.loads((out / "landmark-inference.log").read_text())
    assert [event["data"] for event in log] == ["hello\n", "there\n"]
    assert client("kernels", "logs", KERNEL, "--follow").stdout == "hello\nthere\n"
    client("kernels", "pull", KERNEL, "-m", "-p", tmp_path / "pulled")
    pulled = json.loads((tmp_path / "pulled" / "kernel-metadata.json").read_text())
    assert pulled["dataset_sources"] == ["tester/landmark-kit"]
    assert (
        (tmp_path / "pulled" / "landmark-inference.py").read_text().startswith("print")
    )


def test_a_kernel_that_raises_is_an_error(client, kaggle, tmp_path):
    kaggle.on_push = lambda version: 1 / 0
    kaggle.kernel_statuses = ["COMPLETE"]
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert "not valid dataset sources" in told
    assert "['tester/landmark-kit']" in told
    assert "KernelWorkerStatus.ERROR" in client("kernels", "status", KERNEL).stdout
    assert "ZeroDivisionError" in client("kernels", "logs", KERNEL).stdout


def test_gpu_sessions_and_owners_are_checked(client, kaggle, tmp_path):
    kaggle.gpu_sessions = 1
    client("kernels", "push", "-p", kernel_dir(tmp_path))
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert told == "Kernel push error: Maximum batch GPU session count of 1 reached.\n"
    other = kernel_dir(tmp_path, id="other/landmark-inference")
    assert "was denied" in client("kernels", "push", "-p", other, rc=1).stderr
    assert "kernels.get" in client("kernels", "status", "tester/nothing", rc=1).stderr


def test_the_quota_is_told(client, kaggle):
    kaggle.gpu_quota_s = (7200, 108_000)
    gpu, tpu = json.loads(client("quota", "--format", "json").stdout)
    assert (gpu["used"], gpu["remaining"], tpu["total"]) == (
        "2.00h",
        "28.00h",
        "20.00h",
    )
