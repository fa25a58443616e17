#!/bin/sh
# shellcheck shell=sh
# {{ name }} of this environment is the host's own program.
{% if activate %}
# What it starts, here or on other nodes, finds this release's commands first.
if [ "${CONDA_PREFIX:-}" != {{ prefix | sh }} ]; then
    # shellcheck disable=SC1091
    . {{ prefix | sh }}/bin/activate
fi
{% endif %}
_cc_real={{ real | sh }}
if [ -z "$_cc_real" ]; then
    _cc_rest=$PATH:{{ host_bin | sh }}:
    while [ -n "$_cc_rest" ]; do
        _cc_word=${_cc_rest%%:*}/{{ name | sh }}
        _cc_rest=${_cc_rest#*:}
        if [ -x "$_cc_word" ] && [ ! "$_cc_word" -ef "$0" ] && [ ! "$_cc_word" -ef {{ prefix | sh }}/bin/{{ name | sh }} ]; then
            _cc_real=$_cc_word
            break
        fi
    done
fi
if [ ! -x "$_cc_real" ]; then
    printf '%s: %s is the host'\''s own program, which is not here (%s)\n' \
        {{ product | sh }} {{ name | sh }} "${_cc_real:-nowhere in PATH}" >&2
    exit 127
fi
{% if starter %}
# By its name, not by its path: Open MPI takes the folder in its path for one that every rank needs first in PATH.
# shellcheck disable=SC2016  # expanded by the shell that this text is for
exec /bin/bash -c 'exec -a "$0" "$@"' {{ name | sh }} "$_cc_real" "$@"
{% else %}
exec "$_cc_real" "$@"
{% endif %}
