"""From runs to a bundle: gallery, ranking tuned on validation photos, notices, manifest."""
