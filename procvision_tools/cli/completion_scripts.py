"""The scripts by which bash, zsh and fish complete the command, and what they ask it for.

A script runs the command with two variables of its own: `COMP_WORDS`, the line up to the cursor, and `COMP_CWORD`, the
index of the word under the cursor (fish: the word itself). The answer is a line an offer: kind (`plain`, `file`,
`dir`), value and help, with tabs between them.

The shells differ in how they take ``--param=key=value``: bash takes a word apart at ``=`` and replaces the last part
alone; zsh and fish replace the whole word. bash and zsh put a space behind what they complete, which a ``key=`` must
not have.
"""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class
from click.shell_completion import split_arg_string as split_words

_BASH = r"""
%(complete_func)s() {
    local kind value help
    COMPREPLY=()
    while IFS=$'\t' read -r kind value help; do
        case "$kind" in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain)
                COMPREPLY+=("$value")
                [[ "$value" == *= ]] && compopt -o nospace 2>/dev/null
                ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s
%(complete_func)s() {
    local line kind value help
    local -a described plain ending parts
    for line in "${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
            %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}"; do
        parts=("${(@ps:\t:)line}")
        kind="$parts[1]" value="$parts[2]" help="$parts[3]"
        case "$kind" in
            file) _path_files -f ;;
            dir) _path_files -/ ;;
            plain)
                [[ "$value" == *= ]] && ending=(-S '')
                if [[ -n "$help" ]]; then
                    described+=("${value//:/\\:}:$help")
                else
                    plain+=("$value")
                fi
                ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U "${ending[@]}"
    (( $#plain )) && compadd "${ending[@]}" -U -V unsorted -a plain
}
if [[ "$zsh_eval_context[-1]" == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""
function %(complete_func)s
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -ct)
    set -lx %(complete_var)s fish_complete
    for line in (%(prog_name)s 2>/dev/null)
        set -l parts (string split \t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path $parts[2]
            case dir
                __fish_complete_directories $parts[2]
            case plain
                string join \t -- $parts[2..-1]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def _line(kind: str, value: str, told: str | None) -> str:
    told = " ".join((told or "").split())
    return f"{kind}\t{value}\t{told}" if told else f"{kind}\t{value}"


class Bash(ShellComplete):
    """bash 4.4 and later."""

    name = "bash"
    source_template = _BASH
    _before = ""
    """What of the word that is completed stands before the part that bash replaces."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words, put together again, and the one that is to be completed."""
        given = split_words(os.environ["COMP_WORDS"])
        index = int(os.environ["COMP_CWORD"])
        last = given[index] if index < len(given) else ""
        words: list[str] = []
        glues = False
        for word in (*given[1:index], last):
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
        """Give the part that bash puts in; it shows no help."""
        return _line(item.type, str(item.value).removeprefix(self._before), None)


class _WholeWords(ShellComplete):
    """A shell that replaces the whole word."""

    _option = ""
    """What click cuts off before it looks for completions: `--param=`."""

    def _words(self) -> tuple[list[str], str]:
        raise NotImplementedError

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words, and the one that is to be completed."""
        args, word = self._words()
        option, equals, _ = word.partition("=")
        self._option = option + equals if equals and option.startswith("-") else ""
        return args, word

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Give the whole word, and its help."""
        return _line(item.type, f"{self._option}{item.value}", item.help)


class Zsh(_WholeWords):
    """zsh."""

    name = "zsh"
    source_template = _ZSH

    def _words(self) -> tuple[list[str], str]:
        words = split_words(os.environ["COMP_WORDS"])
        index = int(os.environ["COMP_CWORD"])
        return words[1:index], words[index] if index < len(words) else ""


class Fish(_WholeWords):
    """fish 3 and later."""

    name = "fish"
    source_template = _FISH

    def _words(self) -> tuple[list[str], str]:
        words = split_words(os.environ["COMP_WORDS"])[1:]
        begun = split_words(os.environ["COMP_CWORD"])
        word = begun[0] if begun else ""
        # The line holds the word under the cursor as well.
        return words[:-1] if word and words[-1:] == [word] else words, word


def register() -> None:
    """Make click use these for the three shells."""
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
