"""The images of a submission, with ranks and losses by their definition, in fractions.

Nothing of the kit is called: the files are read by ``csv``.
"""

import csv
from fractions import Fraction

import numpy as np


class Image:
    """The truth of an image, and the guess for it, as the files have them."""

    def __init__(self, truth, cell, known):
        self.id, self.usage = truth["id"], truth.get("Usage", "")
        self.shown = set(map(int, truth["landmarks"].split()))
        words = cell.split()
        self.guess = int(words[0]) if words else None
        self.confidence = float(words[1]) if words else -float("inf")
        self.right = self.guess in self.shown
        self.unknown = bool(self.shown) and known is not None and not self.shown & known
        self.rank, self.loss = 0, Fraction(0)
        self.own, self.above = Fraction(0), Fraction(0)

    @property
    def landmark(self):
        """The landmark that the image counts for; None: it shows none."""
        if self.right:
            return self.guess
        return min(self.shown, default=None)


def read_images(submission, solution, known):
    """All images that count, with their ranks and losses."""
    with open(submission, newline="") as file:
        cells = {row["id"]: row["landmarks"] for row in csv.DictReader(file)}
    with open(solution, newline="") as file:
        truths = [row for row in csv.DictReader(file) if row.get("Usage") != "Ignored"]
    images = [Image(truth, cells[truth["id"]], known) for truth in truths]
    ranked = rank(images)
    n_positives = sum(bool(image.shown) for image in images)
    for place, image in enumerate(ranked, 1):
        image.rank = place
        if image.right:
            for other in ranked[: place - 1]:
                if not other.right:
                    other.above += Fraction(1, place * n_positives)
    for image in images:
        if image.shown and not image.right:
            image.own = Fraction(1, n_positives)
        image.loss = image.own + image.above
    return images


def rank(images):
    guessed = [image for image in images if image.guess is not None]
    return sorted(guessed, key=lambda image: (-image.confidence, image.id))


def gap_of(images, weight=1):
    """GAP, where a non-landmark image counts as ``weight`` images; None: not defined."""
    n_positives = sum(bool(image.shown) for image in images)
    if not n_positives:
        return None
    total = right = above = 0
    for image in rank(images):
        right += image.right
        above += 1 if image.shown else weight
        total += right / above if image.right else 0
    return total / n_positives


def auc_of(images):
    """How often a landmark image has a higher confidence than another; ties count half."""
    ours = [image.confidence for image in images if image.shown]
    others = [image.confidence for image in images if not image.shown]
    pairs = [(x > y) + (x == y) / 2 for x in ours for y in others]
    return sum(pairs) / len(pairs) if pairs else None


def kinds_of(images):
    """The confidences of each kind in the legend of the histograms."""
    ranked = rank(images)
    wrong = [image for image in ranked if image.shown and not image.right]
    kinds = {"landmark, right": [image for image in ranked if image.right]}
    if any(image.unknown for image in ranked):
        kinds["landmark in the bundle, wrong"] = [i for i in wrong if not i.unknown]
        kinds["landmark not in the bundle, wrong"] = [i for i in wrong if i.unknown]
    else:
        kinds["landmark, wrong"] = wrong
    kinds["no landmark"] = [image for image in ranked if not image.shown]
    return {kind: [i.confidence for i in kinds[kind]] for kind in kinds}


def precisions_of(images):
    ranked = rank(images)
    rights = np.cumsum([image.right for image in ranked]).tolist()
    return [right / place for place, right in enumerate(rights, 1)]
