"""Rehearsal: run a kernel under Kaggle's conditions before it is pushed."""
