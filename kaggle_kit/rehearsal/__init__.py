"""The kernel run as Kaggle would: offline, confined, against the clock."""
