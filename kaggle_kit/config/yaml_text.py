"""Parse the YAML of a config in bounded time. Only plain types are allowed.

Not in the kernel, which reads ``config.json``.
"""

from typing import Any

import yaml

LARGEST_CONFIG = 2**16  # bytes: PyYAML takes up to 4 s for them; the kit's have 2,000
MOST_ALIASES = 100
MOST_KEYS = 1000  # of a section, those included that "<<" merges into it
LONGEST_NUMBER = 100  # characters; 1:1:1:... to the base 60 takes quadratic time


class _Loader(yaml.SafeLoader):
    """Refuses repeated keys, and text that becomes much more than it is."""

    n_aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless there are too many aliases."""
        if self.check_event(yaml.AliasEvent):
            self.n_aliases += 1
            if self.n_aliases > MOST_ALIASES:
                raise yaml.MarkedYAMLError(
                    problem=f"more than {MOST_ALIASES} aliases",
                    problem_mark=self.peek_event().start_mark,
                )
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        """Merge what "<<" names, unless that are too many keys."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            raise _problem(node, f"more than {MOST_KEYS} keys")

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Construct a mapping, if its keys are distinct."""
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    raise _problem(node, f"{key.value[:80]!r} twice")
                names.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        """Construct a scalar, unless it is a number with too many digits."""
        is_text = node.tag == self.DEFAULT_SCALAR_TAG
        if not is_text and len(node.value) > LONGEST_NUMBER:
            raise _problem(node, f"a value of {len(node.value)} characters")
        return super().construct_scalar(node)


def parse_yaml(text: str) -> Any:
    """Parse YAML; only plain types are allowed.

    Raises:
        YAMLError: it is not YAML, it is too large, or a key is repeated.
    """
    if len(text) > LARGEST_CONFIG:
        raise yaml.YAMLError(f"more than {LARGEST_CONFIG} characters")
    try:
        return yaml.load(text, _Loader)
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
        # PyYAML does not convert these: for the date 2021-13-45, !!bool x, deep nesting
        raise yaml.YAMLError(f"a malformed value: {error!r:.100}") from error


def _problem(node: Any, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
