"""Look up settings by their dotted names, such as ``train.epochs``."""

import difflib
from typing import Any, get_args

from kaggle_kit.config.schema import Config


def no_setting(name: str) -> str:
    """The error message for an unknown dotted name, with the most similar setting."""
    *sections, key = name.split(".")
    owner: Any = Config
    for section in sections:
        field = getattr(owner, "model_fields", {}).get(section)
        if field is None:
            key = section
            break
        owner = section_of(field.annotation)
    names = list(getattr(owner, "model_fields", {}))
    if key in names:  # in an optional section that is null
        section = ".".join(sections)
        return (
            f"no setting '{name}' while {section} is null: set {section}={{{key}: ...}}"
        )
    if not names:
        return f"no setting '{name}': '{section}' is no section"
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    if close:
        return f"no setting '{name}': did you mean '{close[0]}'?"
    return f"no setting '{name}'; the settings are {', '.join(names)}"


def section_of(annotation: Any) -> Any:
    """The section class of an annotation, also of an optional section; else itself."""
    return next(
        (a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation
    )
