"""click's completion for shells, made to complete ``key=value``.

bash takes such a word apart at ``=`` and replaces the last part alone; zsh and fish replace the whole word, the option
of ``--param=key=value`` included. bash and zsh put a space behind what they complete, which a ``key=`` must not have.
"""

from __future__ import annotations

from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)


class Bash(BashComplete):
    """bash."""

    source_template = BashComplete.source_template.replace(
        "            COMPREPLY+=($value)\n",
        "            COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace 2>/dev/null\n",
    )
    _before = ""
    """What of the word that is completed stands before the part that bash replaces."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words, put together again, and the one that is to be completed."""
        args, last = super().get_completion_args()
        words: list[str] = []
        glues = False
        for word in (*args, last):
            separates = word != "" and not word.strip("=")
            if words and (separates or (glues and word)):
                words[-1] += word
            else:
                words.append(word)
            glues = separates
        whole = words.pop()
        before = whole.removesuffix(last.lstrip("="))
        # click cuts `--param=` off itself.
        self._before = before.partition("=")[2] if before.startswith("--") else before
        return words, whole

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Give the part that bash puts in."""
        return super().format_completion(CompletionItem(str(item.value).removeprefix(self._before), item.type))


class _WholeWords(ShellComplete):
    """A shell that replaces the whole word."""

    _option = ""
    """What click cuts off before it looks for completions: `--param=`."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words, and the one that is to be completed."""
        args, word = super().get_completion_args()
        option, equals, _ = word.partition("=")
        self._option = option + equals if equals and option.startswith("-") else ""
        return args, word

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Give the whole word."""
        return super().format_completion(CompletionItem(f"{self._option}{item.value}", item.type, item.help))


class Zsh(_WholeWords, ZshComplete):
    """zsh."""

    source_template = (
        ZshComplete.source_template.replace("    local -a response\n", "    local -a response ending\n")
        .replace("    for type key descr in ${response}; do\n",
                 "    for type key descr in ${response}; do\n        [[ $key == *= ]] && ending=(-S '')\n")
        .replace("completions_with_descriptions -U\n", 'completions_with_descriptions -U "${ending[@]}"\n')
        .replace("compadd -U ", 'compadd "${ending[@]}" -U ')
    )  # fmt: skip


class Fish(_WholeWords, FishComplete):
    """fish."""


def register() -> None:
    """Have click use these."""
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
