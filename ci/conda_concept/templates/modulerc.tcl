#%Module1.0
# Written by conda-concept at every publish and rollback; changes made by hand do not last.
{% for name, symbols in names %}
module-version {{ (product ~ "/" ~ name) | tcl }}{% for symbol in symbols %} {{ symbol | tcl }}{% endfor %}

{% endfor %}
