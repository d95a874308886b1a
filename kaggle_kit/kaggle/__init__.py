"""Kaggle: publish a bundle, push a kernel, submit, and record the scores."""
