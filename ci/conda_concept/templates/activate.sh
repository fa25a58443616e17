# shellcheck shell=sh
# To be sourced: `. {{ prefix }}/bin/activate`. It does what loading the module does.
export CONDA_PREFIX={{ prefix | sh }}
export CONDA_DEFAULT_ENV={{ label | sh }}
export PATH={{ prefix | sh }}/bin:"$PATH"
{% for name, value in variables %}
export {{ name }}={{ value | sh }}
{% endfor %}
{% for name, value in paths %}
export {{ name }}={{ value | sh }}"${ {{- name }}:+:${{ name }}}"
{% endfor %}
{% if unset %}
unset {{ unset | join(" ") }}
{% endif %}
hash -r 2>/dev/null || :
