"""The bundle, and its rehearsal under the conditions of Kaggle."""
