# shellcheck shell=sh
{% for name, value in paths %}
{% if on %}
export {{ name }}={{ value | sh }}"${ {{- name }}:+:${{ name }}}"
{% else %}
case ":${ {{- name }}-}:" in
:{{ value | sh }}:) unset {{ name }} ;;
:{{ value | sh }}:*) {{ name }}=${ {{- name }}#{{ value | sh }}:} ;;
esac
{% endif %}
{% endfor %}
{% for name, value in variables %}
{% if on %}
export {{ name }}={{ value | sh }}
{% else %}
unset {{ name }}
{% endif %}
{% endfor %}
