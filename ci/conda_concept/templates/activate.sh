# shellcheck shell=sh
# To be sourced: `. {{ prefix }}/bin/activate`. It does what loading the module does, and leaves another
# release that is active here.
if [ -r "${CONDA_PREFIX:-}/etc/conda/deactivate.d/conda_concept.sh" ]; then
    # shellcheck disable=SC1091
    . "$CONDA_PREFIX/etc/conda/deactivate.d/conda_concept.sh"
    case ":$PATH:" in
    *:"$CONDA_PREFIX/bin":*)
        _cc_kept=:$PATH:
        _cc_kept=${_cc_kept%%:"$CONDA_PREFIX/bin":*}:${_cc_kept#*:"$CONDA_PREFIX/bin":}
        _cc_kept=${_cc_kept#:}
        PATH=${_cc_kept%:}
        unset _cc_kept
        ;;
    esac
fi
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
