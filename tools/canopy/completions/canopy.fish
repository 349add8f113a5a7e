# Completion of canopy(1) for fish.

set -l commands top tree dump leaks causes stats context cancel trace

complete -c canopy -f
complete -c canopy -s s -l socket -r -F -d 'The socket on which it listens'
complete -c canopy -s p -l pid -x -a '(__fish_complete_pids)' -d 'This process, without its help'
complete -c canopy -s c -l core -r -F -d 'The process that left this core'
complete -c canopy -s t -l timeout -x -d 'How long it may say nothing'
complete -c canopy -s 1 -l once -d 'Print one screen of top'
complete -c canopy -s i -l interval -x -d 'Between two looks of top'
complete -c canopy -s '?' -l help -d 'Say what there is'
complete -c canopy -l usage -d 'Say how it is typed'
complete -c canopy -s V -l version -d 'Say which version it is'

set -l none "not __fish_seen_subcommand_from $commands"
complete -c canopy -n $none -a top -d 'A live screen'
complete -c canopy -n $none -a tree -d 'Each context a line'
complete -c canopy -n $none -a dump -d 'All contexts in a format'
complete -c canopy -n $none -a leaks -d 'Where those were made that are old'
complete -c canopy -n $none -a causes -d 'Why contexts ended'
complete -c canopy -n $none -a stats -d 'How many, how fast, how late'
complete -c canopy -n $none -a context -d 'All that is known of one'
complete -c canopy -n $none -a cancel -d 'End one'
complete -c canopy -n $none -a trace -d 'What happens for a time'

complete -c canopy -n '__fish_seen_subcommand_from dump' -a 'text json dot html'
complete -c canopy -n '__fish_seen_subcommand_from leaks' -a '10s 1m 10m 1h json'
complete -c canopy -n '__fish_seen_subcommand_from causes stats context' -a json
complete -c canopy -n '__fish_seen_subcommand_from trace' -a '1s 10s 1m'
