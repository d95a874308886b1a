"""Kaggle's side, through its own client: datasets, kernels, submissions, the ledger."""
