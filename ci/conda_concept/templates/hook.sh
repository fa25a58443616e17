# shellcheck shell=sh
{% for name, value in paths %}
{% if on %}
export {{ name }}={{ value | sh }}"${ {{- name }}:+:${{ name }}}"
{% else %}
case ":${ {{- name }}-}:" in
*:{{ value | sh }}:*)
    _cc_kept=:${{ name }}:
    _cc_kept=${_cc_kept%%:{{ value | sh }}:*}:${_cc_kept#*:{{ value | sh }}:}
    _cc_kept=${_cc_kept#:}
    {{ name }}=${_cc_kept%:}
    [ -n "${{ name }}" ] || unset {{ name }}
    unset _cc_kept
    ;;
esac
{% endif %}
{% endfor %}
{% for name, value in variables %}
{% if on %}
export {{ name }}={{ value | sh }}
{% else %}
if [ "${ {{- name }}-}" = {{ value | sh }} ]; then
    unset {{ name }}
    if [ -n "${CONDA_CONCEPT_SAVED_{{ name }}+set}" ]; then
        export {{ name }}="${CONDA_CONCEPT_SAVED_{{ name }}}"
        unset CONDA_CONCEPT_SAVED_{{ name }}
    fi
fi
{% endif %}
{% endfor %}
{% for name in unset %}
{% if on %}
if [ -n "${ {{- name }}+set}" ]; then
    export CONDA_CONCEPT_SAVED_{{ name }}="${ {{- name }}}"
    unset {{ name }}
fi
{% else %}
if [ -n "${CONDA_CONCEPT_SAVED_{{ name }}+set}" ]; then
    export {{ name }}="${CONDA_CONCEPT_SAVED_{{ name }}}"
    unset CONDA_CONCEPT_SAVED_{{ name }}
fi
{% endif %}
{% endfor %}
