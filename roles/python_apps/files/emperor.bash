# bash completion of `emperor`, written by tools/manual.py. The names of apps are those of their slices, which everybody may
# see.
_emperor() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} options='' apps
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W 'status history logs deploy rollback run restart maintenance --help' -- "$word")
        return
    fi
    case $verb in
        status) options='--help --json' ;;
        history) options='--help --json --lines' ;;
        logs) options='--follow --help --lines' ;;
        deploy) options='--break-lock --force --help --json --only-here' ;;
        rollback) options='--across-migration --break-lock --help --json --only-here' ;;
        run) options='--help --timeout' ;;
        restart) options='--help' ;;
        maintenance) options='--help' ;;
        *) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif ((COMP_CWORD == 2)); then
        apps=$(cd /etc/systemd/system && for one in apps-*.slice; do
            one=${one#apps-} one=${one%.slice}
            [[ $one == '*' ]] || printf '%s\n' "${one//\\x2d/-}"
        done)
        mapfile -t COMPREPLY < <(compgen -W "$apps" -- "$word")
    elif [[ $verb == maintenance ]] && ((COMP_CWORD == 3)); then
        mapfile -t COMPREPLY < <(compgen -W 'on off' -- "$word")
    fi
}
complete -F _emperor emperor
