"""An example of each command, for its ``--help``; they follow the demo's folders."""

EXAMPLES: dict[str, str] = {
    "download": "kaggle-kit download --slug landmark-recognition-2021 --tables --out data",
    "index": "kaggle-kit index --competition demo/competition --out index.csv --report",
    "subset": (
        "kaggle-kit subset --config demo.yaml --competition demo/competition --out subset"
    ),
    "shards": (
        "kaggle-kit shards --config demo.yaml --competition demo/competition \\\n"
        "      --subset subset --out shards"
    ),
    "train": (
        "kaggle-kit train --config demo.yaml --shards shards --run runs/demo \\\n"
        "      --set train.epochs=3"
    ),
    "bundle": (
        "kaggle-kit bundle --run runs/demo --competition demo/competition --out bundle"
    ),
    "ablate": (
        "kaggle-kit ablate --run runs/demo --competition demo/competition --out ablation.md"
    ),
    "similar": "kaggle-kit similar photo.jpg --bundle bundle -k 3",
    "match": "kaggle-kit match photo.jpg other.jpg --out matched.png",
    "predict": (
        "kaggle-kit predict --bundle bundle --competition demo/competition \\\n"
        "      --out submission.csv"
    ),
    "rehearse": (
        "kaggle-kit rehearse --bundle bundle --competition demo/competition \\\n"
        "      --out rehearsal --time-limit-s 600"
    ),
    "app": "kaggle-kit app --bundle demo/bundle --photos demo/competition",
    "report": (
        "kaggle-kit report --run demo --submission demo/submission.csv \\\n"
        "      --solution demo/competition/solution.csv \\\n"
        "      --competition demo/competition --out report.html"
    ),
    "validate": (
        "kaggle-kit validate submission.csv \\\n"
        "      --sample demo/competition/sample_submission.csv"
    ),
    "score": (
        "kaggle-kit score submission.csv demo/competition/solution.csv --intervals"
    ),
    "run": (
        "kaggle-kit run --config lite0_320.yaml --competition data --out runs/lite0_320"
    ),
    "demo": "kaggle-kit demo --out demo",
    "doctor": "kaggle-kit doctor",
    "publish": "kaggle-kit publish --bundle bundle --notes 'more landmarks' --dry-run",
    "push": (
        "kaggle-kit push --kernel kernels/inference --handle me/landmark-inference \\\n"
        "      --dataset me/landmark-kit"
    ),
    "submit": (
        "kaggle-kit submit --slug landmark-recognition-2021 --message 'first try' \\\n"
        "      --kernel me/landmark-inference --version 1"
    ),
    "ship": (
        "kaggle-kit ship --bundle bundle --kernel kernels/inference \\\n"
        "      --slug landmark-recognition-2021 --message 'first try'"
    ),
    "submissions": "kaggle-kit submissions --slug landmark-recognition-2021",
}
