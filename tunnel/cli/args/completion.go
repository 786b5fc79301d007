package args

import (
	"fmt"
	"strings"
)

// Completion returns the completion script for a shell, "bash", "zsh" or "fish"; "" for
// any other. It completes verbs, flags and choices.
func (p Program) Completion(shell string) string {
	var b strings.Builder
	switch shell {
	case "bash":
		p.bash(&b)
	case "zsh":
		p.zsh(&b)
	case "fish":
		p.fish(&b)
	}
	return b.String()
}

// bash writes a function that offers the words that may come next after the verb on the
// line. bash treats what follows "=" as a word of its own.
func (p Program) bash(b *strings.Builder) {
	fmt.Fprintf(b, `# bash completion for %[1]s: source <(%[1]s --completion bash)
_%[1]s() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= words= word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in %[2]s) verb=$word; break ;; esac
  done
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  COMPREPLY=()
  case $verb:$prev in
`, p.Name, strings.Join(p.verbNames(), "|"))
	verbs := append([]Verb{p.Verb}, p.Verbs...)
	for _, v := range verbs {
		var free []string
		for _, f := range v.Flags {
			patterns := strings.Join(f.typedNames(), "|"+v.Name+":")
			if choices := f.choices(); choices != nil {
				fmt.Fprintf(b, "  %s:%s) words='%s' ;;\n", v.Name, patterns, strings.Join(choices, " "))
			} else if f.value() != "" {
				free = append(free, v.Name+":"+patterns)
			}
		}
		if free != nil {
			fmt.Fprintf(b, "  %s) return ;;\n", strings.Join(free, "|"))
		}
	}
	b.WriteString("  *) case $verb in\n")
	for _, v := range verbs {
		var words []string
		if v.Name == "" {
			words = p.verbNames()
		}
		for _, f := range v.Flags {
			words = append(words, f.typedNames()...)
		}
		fmt.Fprintf(b, "    '%s') words='%s' ;;\n", v.Name, strings.Join(words, " "))
	}
	fmt.Fprintf(b, `    esac ;;
  esac
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _%[1]s %[1]s
`, p.Name)
}

// zsh writes a function that calls _arguments. It works from $fpath and when sourced.
func (p Program) zsh(b *strings.Builder) {
	fmt.Fprintf(b, "#compdef %[1]s\n_%[1]s() {\n  local verb=${words[(r)(%[2]s)]}\n  case $verb in\n",
		p.Name, strings.Join(p.verbNames(), "|"))
	for _, v := range append(p.Verbs, p.Verb) {
		pattern, arguments := v.Name, "'1:verb:' '*:argument:_default'"
		if v.Name == "" {
			pattern, arguments = "*", "'1:verb:("+strings.Join(p.verbNames(), " ")+")'"
		}
		fmt.Fprintf(b, "  %s) _arguments \\\n", pattern)
		for _, f := range v.Flags {
			for _, name := range f.typedNames() {
				fmt.Fprintf(b, "    '%s' \\\n", f.zshSpec(name))
			}
		}
		fmt.Fprintf(b, "    %s ;;\n", arguments)
	}
	fmt.Fprintf(b, `  esac
}
if [ "$funcstack[1]" = _%[1]s ]; then _%[1]s "$@"; else compdef _%[1]s %[1]s; fi
`, p.Name)
}

// zshSpec returns the specification of a flag for _arguments.
func (f Flag) zshSpec(name string) string {
	quote := strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)
	spec := name + "[" + quote.Replace(f.usage()) + "]"
	if f.Kind == List {
		spec = "*" + spec
	}
	switch {
	case f.choices() != nil:
		spec += ":" + quote.Replace(f.Name) + ":(" + strings.Join(f.choices(), " ") + ")"
	case f.value() != "":
		spec += ":" + quote.Replace(f.value()) + ":_default"
	}
	return spec
}

// fish writes a complete command for each verb and each flag.
func (p Program) fish(b *strings.Builder) {
	quote := strings.NewReplacer(`\`, `\\`, "'", `\'`)
	for _, v := range p.Verbs {
		fmt.Fprintf(b, "complete -c %s -n __fish_use_subcommand -f -a %s -d '%s'\n", p.Name, v.Name, quote.Replace(v.Summary))
	}
	for _, v := range append(p.Verbs, p.Verb) {
		condition := "'__fish_seen_subcommand_from " + v.Name + "'"
		if v.Name == "" {
			condition = "__fish_use_subcommand"
		}
		for _, f := range v.Flags {
			fmt.Fprintf(b, "complete -c %s -n %s", p.Name, condition)
			for _, n := range f.names() {
				fmt.Fprintf(b, " -%s %s", map[bool]string{true: "s", false: "l"}[len(n) == 1], n)
			}
			switch {
			case f.choices() != nil:
				fmt.Fprintf(b, " -x -a '%s'", strings.Join(f.choices(), " "))
			case f.value() != "":
				b.WriteString(" -r")
			}
			fmt.Fprintf(b, " -d '%s'\n", quote.Replace(f.usage()))
		}
	}
}
