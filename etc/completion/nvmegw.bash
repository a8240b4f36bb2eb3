# SPDX-License-Identifier: Apache-2.0
# Completion of nvmegw(1) for bash with bash-completion: what fits, the tool says itself.

_nvmegw()
{
	local cur words cword offered

	# Names have colons in them, at which bash would break words.
	_get_comp_words_by_ref -n : cur words cword
	mapfile -t offered < <("$1" --complete "${words[@]:1:cword}" 2>/dev/null)
	if [[ ${offered[0]-} == :files ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	COMPREPLY=("${offered[@]%%$'\t'*}")
	__ltrim_colon_completions "$cur"
}

complete -F _nvmegw nvmegw
