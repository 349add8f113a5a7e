#compdef canopy
# Completion of canopy(1) for zsh.

_canopy_commands()
{
    local -a commands
    commands=(
        'top:a live screen'
        'tree:each context a line'
        'dump:all contexts in a format'
        'leaks:where those were made that are old'
        'causes:why contexts ended'
        'stats:how many, how fast, how late'
        'context:all that is known of one'
        'cancel:end one'
        'trace:what happens for a time'
    )
    _describe command commands
}

_canopy_words()
{
    case $words[1]:$CURRENT in
        dump:2) _values format text json dot html ;;
        leaks:2) _values 'age' 10s 1m 10m 1h json ;;
        trace:2) _values 'time' 1s 10s 1m ;;
        (leaks|context):3|(causes|stats):2) _values format json ;;
        (context|cancel):2) _message 'id, as tree prints them' ;;
        cancel:*) _message 'cause' ;;
        *) _message 'no more words' ;;
    esac
}

_arguments \
    '(-p --pid -c --core)'{-s+,--socket=}'[the socket on which it listens]:socket:_files' \
    '(-s --socket -c --core)'{-p+,--pid=}'[this process, without its help]:process:_pids' \
    '(-s --socket -p --pid)'{-c+,--core=}'[the process that left this core]:core:_files' \
    {-t+,--timeout=}'[how long it may say nothing]:time:' \
    {-1,--once}'[print one screen of top]' \
    {-i+,--interval=}'[between two looks of top]:time:' \
    '(- *)'{-\?,--help}'[say what there is]' \
    '(- *)--usage[say how it is typed]' \
    '(- *)'{-V,--version}'[say which version it is]' \
    '1: :_canopy_commands' \
    '*:: :_canopy_words'
