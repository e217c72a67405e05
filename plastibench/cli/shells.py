"""How shells ask what can be typed next.

click's own scripts add a blank after each word, also if more of it must follow as in `--set NAME=`. They
take what bash splits at = and : for words of their own, end a word at a comma in fish, and lose the option of
`--option=VALUE` in zsh and fish.
"""

import os

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

BASH = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" current="${COMP_WORDS[COMP_CWORD]}" whole before items kind value
    whole="${line##*[[:space:]]}"
    [[ $current == [=:] ]] && current=""
    before="${whole%%"$current"}"
    items="$(COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)"
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        plain)
            COMPREPLY+=("${value#"$before"}")
            [[ $value == *[=.:] ]] && compopt -o nospace ;;
        esac
    done <<< "$items"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response whole open
    local kind value help
    local line="${(j: :)words[1,CURRENT]}"
    response=("${(@f)$(COMP_WORDS="$line" %(complete_var)s=zsh_complete $words[1] 2>/dev/null)}")
    for kind value help in $response; do
        case $kind in
        dir) _path_files -/ ;;
        file) _path_files -f ;;
        plain)
            if [[ $value == *[=.:] ]]; then
                open+=("$value")
            elif [[ $help == _ ]]; then
                whole+=("${value//:/\\\\:}")
            else
                whole+=("${value//:/\\\\:}:$help")
            fi ;;
        esac
    done
    (( $#open )) && compadd -U -S '' -V open -a open
    (( $#whole )) && _describe -V whole whole -U
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

FISH = """\
function %(complete_func)s
    set -l line (commandline -cp)
    for item in (COMP_WORDS="$line" %(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 , -- $item)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def _words() -> tuple[list[str], str]:
    """Return the complete words of the line up to the cursor, and the one that is being typed."""
    line = os.environ["COMP_WORDS"]
    words = split_arg_string(line)[1:]
    return (words, "") if line[-1:].isspace() or not words else (words[:-1], words[-1])


class WholeWords(ShellComplete):
    """Completion in a shell that replaces the whole word, with the option in front of `=`."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return whole words."""
        items: list[CompletionItem[str]] = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        for item in items if equals and option.startswith("-") and option != "-" else []:
            item.value = f"{option}={item.value}"
        return items


@add_completion_class
class Bash(BashComplete):
    """Completion in bash, which gets the whole line."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words and the one that is being typed."""
        return _words()


@add_completion_class
class Zsh(WholeWords, ZshComplete):
    """Completion in zsh."""

    source_template = ZSH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words and the one that is being typed."""
        return _words()

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return three lines: the kind, the word, and what it is; the script escapes colons itself."""
        return f"{item.type}\n{item.value}\n{item.help or '_'}"


@add_completion_class
class Fish(WholeWords, FishComplete):
    """Completion in fish."""

    source_template = FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words and the one that is being typed."""
        return _words()
