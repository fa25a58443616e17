#%Module1.0
# {{ label }}, build {{ build_id }}: generated, never edited. For Environment Modules 4 and 5 and for Lmod.

proc ModulesHelp { } {
{% for line in help_lines %}
    puts stderr {{ line | tcl }}
{% endfor %}
}

{% for line in whatis_lines %}
module-whatis {{ line | tcl }}
{% endfor %}

conflict {{ product | tcl }}

# A variable that comes back as it was: pushenv where there is one (Environment Modules 5.1, Lmod).
proc conda_concept_set { name value } {
    if {[llength [info commands pushenv]]} {
        pushenv $name $value
    } else {
        setenv $name $value
    }
}

conda_concept_set CONDA_PREFIX {{ prefix | tcl }}
conda_concept_set CONDA_DEFAULT_ENV {{ label | tcl }}
{% for name, value in variables %}
conda_concept_set {{ name | tcl }} {{ value | tcl }}
{% endfor %}
{% for name, value in paths %}
prepend-path {{ name | tcl }} {{ value | tcl }}
{% endfor %}
# The release's own folder, not an alias: what is loaded now stays the same until it is unloaded.
prepend-path PATH {{ (prefix ~ "/bin") | tcl }}
{% if old_after %}

if {[module-info mode load] && [clock seconds] > {{ old_after }}} {
    puts stderr {{ old_text | tcl }}
}
{% endif %}
