"""YAML in which no key stands twice: of two, the last would win unseen."""

from typing import Any

import yaml


class YamlError(ValueError):
    """A text that is no YAML; the message is one line."""


class RepeatedKeyError(YamlError):
    """A mapping that names a key twice; the message is one line naming key and line."""


def read_yaml(text: str) -> Any:
    """What a YAML text says. Raises YamlError, RepeatedKeyError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except RepeatedKeyError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a day such as 2026-02-30
        raise YamlError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    """Looks at keys as they are written, before `<<` brings in those of other mappings."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise RepeatedKeyError(
                    f"line {line}: the key {key.value} stands twice, first on line {lines[name]}"
                )
            lines[name] = line
        return node
