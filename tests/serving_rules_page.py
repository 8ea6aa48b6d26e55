"""The page docs/reference/serving-rules.md, written by `python tests/serving_rules_page.py` from the rules."""

from __future__ import annotations

from pathlib import Path

from retain.exporting.servers.rules import Rule, Server, rules_of, servers

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "serving-rules.md"

HEAD = """# What servers refuse or ignore

`retain check --serve SERVER ADAPTER` holds an adapter or a model against these rules. They are facts on the servers'
own sources, in our words, and stand in one file, `src/retain/exporting/servers/rules.yaml`; this page is made from it.
A server that is newer than the version named here may do otherwise: then its sources are right.

*refused*: it is not loaded. *ignored*: it is loaded without that part. *changed*: something else is computed. *flag*:
the server needs a flag. *note*: worth knowing.

"""


def page() -> str:
    """The page."""
    return HEAD + "\n".join(_section(server) for server in servers().values())


def _section(server: Server) -> str:
    read = f"Read on {server.read} in {server.source} {server.version}, of {server.dated}. {server.proof}"
    lines = [
        f"## {server.title}",
        "",
        f"`--serve {server.name}`. {read}",
        "",
        "| | what it does | read in |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(rule, server.name) for rule in rules_of(server.name)), ""])


def _row(rule: Rule, server: str) -> str:
    about = "" if rule.kinds == ("adapter",) else f" ({', '.join(rule.kinds)})"
    says = rule.says.format_map(_Names()).replace("|", "\\|")
    return f"| {rule.level} | {rule.name.replace('_', ' ')}{about}: {says} | {rule.places[server]} |"


class _Names(dict[str, str]):
    """Names of what a condition finds, as the page shows them."""

    def __missing__(self, name: str) -> str:
        return {
            "rank": "r",
            "padded": "the padded rank",
            "names": "such modules",
            "architecture": "model of this class",
        }.get(name, f"this {name}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
