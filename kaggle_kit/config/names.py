"""Settings by their dotted names, such as ``train.epochs``."""

import difflib
from typing import Any, get_args

from kaggle_kit.config.schema import Config


def no_setting(name: str) -> str:
    """The message for an unknown dotted name, with the nearest known one."""
    *sections, key = name.split(".")
    known: Any = Config
    for section in sections:
        field = getattr(known, "model_fields", {}).get(section)
        if field is None:
            key = section
            break
        known = section_of(field.annotation)
    names = list(getattr(known, "model_fields", {}))
    if key in names:  # below a section that is not there by default
        section = ".".join(sections)
        return f"no setting '{name}' yet: set {section}={{{key}: ...}}"
    if not names:
        return f"no setting '{name}': '{section}' has none below it"
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'" if close else f"known are {', '.join(names)}"
    return f"no setting '{name}': {hint}?" if close else f"no setting '{name}'; {hint}"


def section_of(annotation: Any) -> Any:
    """The settings below a setting, also where it may be None."""
    return next(
        (a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation
    )
