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

# Set a variable so that unloading brings back what it was. setenv would only unset it; pushenv loses the value in
# `module switch` (Environment Modules 5.2), is not there in version 4, and in Lmod takes the new value for the old
# one, because its Tcl runs inside Lmod's own process and has changed the environment by then.
proc conda_concept_set { name value } {
    set saved CONDA_CONCEPT_SAVED_$name
    set was [info exists ::env($name)]
    if {$was} { set old $::env($name) }
    if {[info exists ::ModuleTool] && $::ModuleTool eq "Lmod"} {
        pushenv $name $value
        if {$was} { set ::env($name) $old } else { conda_concept_forget $name }
    } elseif {[module-info mode load]} {
        if {$was} { setenv $saved $old }
        setenv $name $value
    } elseif {[module-info mode unload] && [info exists ::env($saved)]} {
        set old $::env($saved)
        unsetenv $name $old
        setenv $saved $old
        set ::env($name) $old
        conda_concept_forget $saved
    } else {
        setenv $name $value
        # What is unset keeps its value while this process lives, and a switch loads the next release in it.
        if {[module-info mode unload]} { conda_concept_forget $name }
    }
}

# Take a variable away so that unloading brings back what it was. In Lmod, pushenv keeps the old value, which has to be
# what its Tcl sees until the end; on unloading unsetenv does nothing.
proc conda_concept_unset { name } {
    set saved CONDA_CONCEPT_SAVED_$name
    if {[info exists ::ModuleTool] && $::ModuleTool eq "Lmod"} {
        if {[module-info mode load]} {
            if {![info exists ::env($name)]} { return }
            set old $::env($name)
            pushenv $name {}
            unsetenv $name
            set ::env($name) $old
        } elseif {[info exists ::env(__LMOD_STACK_$name)]} {
            pushenv $name {}
        }
    } elseif {[module-info mode load]} {
        if {[info exists ::env($name)]} {
            setenv $saved $::env($name)
            unsetenv $name
        }
    } elseif {[module-info mode unload] && [info exists ::env($saved)]} {
        set old $::env($saved)
        unsetenv $name $old
        setenv $saved $old
        set ::env($name) $old
        conda_concept_forget $saved
    }
}

# Unset in this interpreter. An element that it has not seen yet would not be unset, so it is set first.
proc conda_concept_forget { name } {
    set ::env($name) {}
    unset ::env($name)
}

# The name may mean another release by now than the one that was loaded: unloading takes away what loading gave, as that
# release's own modulefile says it; or as this one does, where that cannot be seen (inside, the image is in its place).
# (Lmod calls the mode "remove", Environment Modules "unload".)
set own {{ prefix | tcl }}
set prefix $own
if {([module-info mode unload] || [module-info mode remove]) && [info exists ::env(CONDA_PREFIX)]
        && [string first {{ (releases ~ "/") | tcl }} $::env(CONDA_PREFIX)] == 0} {
    set prefix $::env(CONDA_PREFIX)
}
if {$prefix ne $own && [file readable $prefix/modulefile]} {
    source $prefix/modulefile
} else {
    conda_concept_set CONDA_PREFIX $prefix
    conda_concept_set CONDA_DEFAULT_ENV {{ label | tcl }}
{% for name, value in variables %}
    conda_concept_set {{ name | tcl }} {{ value | tcl }}
{% endfor %}
{% for name in unset %}
    conda_concept_unset {{ name | tcl }}
{% endfor %}
{% for name, value in paths %}
    prepend-path {{ name | tcl }} [string map [list $own $prefix] {{ value | tcl }}]
{% endfor %}
    # The release's own folder, not an alias: what is loaded now stays the same until it is unloaded.
    prepend-path PATH $prefix/bin
}

# A version that goes away says so. The text is shown, and is nothing but text: nobody has to build this anew for it.
set notice {{ notice | tcl }}
if {[module-info mode load] && [file readable $notice]} {
    set channel [open $notice r]
    puts stderr [string trimright [read $channel]]
    close $channel
}
{% if old_after %}

if {[module-info mode load] && [clock seconds] > {{ old_after }}} {
    puts stderr {{ old_text | tcl }}
}
{% endif %}
