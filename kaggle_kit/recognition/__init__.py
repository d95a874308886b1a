"""From photos to a submission; all that runs inside the kernel."""
