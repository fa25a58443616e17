#%Module1.0
# Written by conda-concept at publish and rollback; changes made by hand do not last.
{% if default %}
module-version {{ (product ~ "/" ~ default) | tcl }} default
{% endif %}
