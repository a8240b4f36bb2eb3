# SPDX-License-Identifier: Apache-2.0
# Completion of nvmegw(1) for fish: what fits, the tool says itself.

function __nvmegw_complete
    set -l words (commandline -opc)
    set -l offered ($words[1] --complete $words[2..-1] (commandline -ct) 2>/dev/null)
    if test "$offered[1]" = :files
        __fish_complete_path (commandline -ct)
    else if set -q offered[1]
        printf '%s\n' $offered
    end
end

complete -c nvmegw -f -a '(__nvmegw_complete)'
