# Completion of rheos for bash, made by `rheos completion bash`.

# Sets what may stand behind the command $1: $commands and $flags. Fails if there is no such command.
_rheos_command() {
    case "$1" in
        @COMMANDS@
        *) return 1 ;;
    esac
}

# Sets $offer to what may stand at the place $1: a command and a flag that takes a value, or a command and the number of
# an argument. Fails if nothing may.
_rheos_place() {
    case "$1" in
        @PLACES@
        *) return 1 ;;
    esac
}

_rheos() {
    local cur="$2" command=rheos commands= flags= offer= flag= prefix= ended= arguments=0 i word
    local IFS=$' \t\n'
    COMPREPLY=()
    _rheos_command "$command"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        case "$word" in
            # Bash makes three words of a=b: the last is the value of a flag, or more of the same word.
            = | :) [[ -n "$flag" ]] || ((i += 1)); continue ;;
            @*) continue ;;
            # The file of a redirection.
            [\<\>\&]*) ((i += 1)); continue ;;
        esac
        if [[ -n "$flag" ]]; then
            flag=
        elif [[ -z "$ended" && "$word" == -- ]]; then
            ended=1
        elif [[ -z "$ended" && "$word" == -?* ]]; then
            _rheos_place "$command $word" && flag="$word"
        elif _rheos_command "$command $word"; then
            command="$command $word"
        else
            ((arguments += 1))
        fi
    done
    # What this word goes on with may be a path: files, as for any command.
    ((i == COMP_CWORD)) || return 0
    case "${COMP_WORDS[COMP_CWORD]}" in
        @*) return 0 ;;
        = | :) [[ -n "$flag" ]] || return 0 ;;
    esac

    offer=
    if [[ -n "$flag" ]]; then
        _rheos_place "$command $flag"
    elif [[ -z "$ended" && "$cur" == --*=* ]]; then
        # Only where = does not part words.
        prefix="${cur%%=*}="
        _rheos_place "$command ${cur%%=*}"
        cur="${cur#*=}"
    elif [[ -z "$ended" && "$cur" == -* ]]; then
        offer="$flags"
    elif [[ -n "$commands" && "$arguments" -eq 0 ]]; then
        offer="$commands"
    else
        _rheos_place "$command $((arguments + 1))"
    fi

    # Bash itself completes paths best. Before version 4 it has no compopt, and offers files besides.
    case "$offer" in
        @files) return 0 ;;
        @folders) compopt +o default +o bashdefault -o plusdirs 2>/dev/null; return 0 ;;
    esac
    compopt +o default +o bashdefault 2>/dev/null
    [[ "$offer" != @nothing ]] || return 0
    while IFS= read -r word; do
        COMPREPLY+=("$prefix$word")
    done < <(compgen -W "$offer" -- "$cur")
}

if [[ "${BASH_VERSINFO[0]}" -gt 4 || ("${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4) ]]; then
    complete -F _rheos -o nosort -o bashdefault -o default rheos
else
    complete -F _rheos -o bashdefault -o default rheos
fi
