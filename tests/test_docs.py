"""Documents that the sources point to."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "curation", "training", "world")


def test_every_cited_section_of_the_method_exists() -> None:
    method = (REPOSITORY / "docs" / "method.md").read_text()
    sections = {heading.lower() for heading in re.findall(r"^## (.+)$", method, re.M)}
    sources = [path.read_text() for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    cited = {name.lower() for text in sources for name in re.findall(r"\(docs/method\.md, ([^)]+)\)", text)}
    assert len(cited) > 3
    assert cited <= sections


def test_the_readme_names_only_commands_that_exist() -> None:
    from pipeline.cli import build_app

    names = {command.callback.__name__ for command in build_app().registered_commands if command.callback}
    readme = (REPOSITORY / "README.md").read_text()
    used = set(re.findall(r"^(?:\.venv/bin/)?webperson ([a-z-]+)", readme, re.M))
    assert used
    assert used <= names
