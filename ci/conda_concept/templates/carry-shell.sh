#!/bin/sh
# shellcheck shell=sh
# {{ name }} that takes this environment along: what it runs on another node finds this very release.
# Names start with _cc_, so that no variable of the user's environment is touched.

if [ "${1-}" = --carried ]; then
    # On the other node: --carried RUNTIME COMMAND-IN-BASE64.
    if [ "$2" != - ]; then export CONDA_CONCEPT_RUNTIME="$2"; fi
    # Its end of line is kept from the shell's tidying by the dot.
    _cc_command=$(printf '%s' "$3" | {{ host_bin | sh }}/base64 -d && printf .) || exit 125
    # shellcheck disable=SC1091
    . {{ prefix | sh }}/bin/activate
    # A bash that takes itself for a remote shell's first one reads ~/.bashrc, once more, over what was activated.
    export SHLVL="$((${SHLVL:-0} + 1))"
    exec "${SHELL:-/bin/sh}" -c "${_cc_command%.}"
fi

# The host's own {{ name }}: the first in PATH that is not this.
_cc_real={{ real | sh }} _cc_rest=$PATH:{{ host_bin | sh }}:
while [ -z "$_cc_real" ] && [ -n "$_cc_rest" ]; do
    _cc_word=${_cc_rest%%:*}/{{ name | sh }}
    _cc_rest=${_cc_rest#*:}
    if [ -x "$_cc_word" ] && [ ! "$_cc_word" -ef "$0" ] && [ ! "$_cc_word" -ef {{ prefix | sh }}/bin/{{ name | sh }} ]; then
        _cc_real=$_cc_word
    fi
done
if [ ! -x "$_cc_real" ]; then
    printf '%s: %s is the host'\''s own program, which is not here (%s)\n' \
        {{ product | sh }} {{ name | sh }} "${_cc_real:-nowhere in PATH}" >&2
    exit 127
fi

# Whether the release is to be had on that host.
_cc_is_node() {
{% if every %}
    return 0
{% else %}
    case $1 in
{% for pattern in nodes %}
    {{ pattern }}) return 0 ;;
{% endfor %}
    esac
    if [ -r "${PBS_NODEFILE:-}" ]; then
        while read -r _cc_word; do
            if [ "${_cc_word%%.*}" = "${1%%.*}" ]; then return 0; fi
        done <"$PBS_NODEFILE"
    fi
    return 1
{% endif %}
}

# How many words stand before the command: options, the host, options again, as ssh reads them.
_cc_count=0 _cc_target='' _cc_skip='' _cc_plain=''
for _cc_word in "$@"; do
    case $_cc_skip$_cc_word in
    +*) _cc_skip='' ;; # the value of the option before
    --) ;;
    -*)
        _cc_rest=${_cc_word#-}
        while [ -n "$_cc_rest" ]; do
            _cc_word=${_cc_rest%"${_cc_rest#?}"}
            _cc_rest=${_cc_rest#?}
            # No command is run, or none of a shell: left alone.
            case $_cc_word in [NOQVGsW]) _cc_plain=1 ;; esac
            case $_cc_word in
            [{{ valued }}])
                [ -n "$_cc_rest" ] || _cc_skip=+
                _cc_rest=''
                ;;
            esac
        done
        ;;
    *)
        if [ -n "$_cc_target" ]; then break; fi
        _cc_target=${_cc_word#ssh://}
        _cc_target=${_cc_target#*@}
        _cc_target=${_cc_target%%:*}
        ;;
    esac
    _cc_count=$((_cc_count + 1))
done
if [ -n "$_cc_plain" ] || [ "$_cc_count" -ge "$#" ] || ! _cc_is_node "$_cc_target"; then
    exec "$_cc_real" "$@"
fi

# The words before the command stay; those of the command become one line, as every remote shell makes it.
_cc_total=$# _cc_line=''
while [ "$_cc_total" -gt 0 ]; do
    if [ "$_cc_count" -gt 0 ]; then
        set -- "$@" "$1"
        _cc_count=$((_cc_count - 1))
    else
        _cc_line="$_cc_line${_cc_line:+ }$1"
    fi
    shift
    _cc_total=$((_cc_total - 1))
done
_cc_line=$(printf '%s' "$_cc_line" | {{ host_bin | sh }}/base64 -w 0)
exec "$_cc_real" "$@" /bin/sh {{ prefix | sh }}/bin/{{ name | sh }} --carried "${CONDA_CONCEPT_RUNTIME:--}" "$_cc_line"
