# Completion of canopy(1) for bash.

# Which command was typed before the word at the cursor, and how many words behind it.
_canopy_typed()
{
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -s | -p | -c | -t | -i | --socket | --pid | --core | --timeout | --interval)
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
                ((i++))
                ;;
            -*) ;;
            *)
                if [[ $command ]]; then
                    ((words++))
                else
                    command=${COMP_WORDS[i]}
                fi
                ;;
        esac
    done
}

_canopy_words()
{
    case $1:$2 in
        :*) echo top tree dump leaks causes stats context cancel trace ;;
        dump:0) echo text json dot html ;;
        leaks:0) echo 10s 1m 10m 1h json ;;
        leaks:1 | causes:0 | stats:0 | context:1) echo json ;;
        trace:0) echo 1s 10s 1m ;;
    esac
}

_canopy()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' words=0
    COMPREPLY=()
    if [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $current == = ]]; then
        current=''
    fi
    _canopy_typed
    case $before in
        -s | --socket | -c | --core) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        -p | --pid) mapfile -t COMPREPLY < <(cd /proc && compgen -W "$(echo [0-9]*)" -- "$current") ;;
        -t | --timeout | -i | --interval) ;;
        *)
            if [[ $current == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W '--socket --pid --core --timeout --once --interval
                    --help --usage --version' -- "$current")
            else
                mapfile -t COMPREPLY < <(compgen -W "$(_canopy_words "$command" "$words")" \
                    -- "$current")
            fi
            ;;
    esac
}

complete -o filenames -F _canopy canopy
