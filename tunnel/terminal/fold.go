package terminal

import "strings"

// Fold breaks a line of words at blanks so that it fits Width, if Wrap is set;
// hang stands before each further line. A word that is wider stays whole. What
// the Style's own colours add (SGR, ECMA-48, section 8.3.117) takes no room, and
// does not reach into hang.
func (s Style) Fold(line, hang string) string {
	if !s.Wrap || columns(line) <= s.Columns() {
		return line
	}
	var b strings.Builder
	at, lit, some := 0, "", false // columns taken, the colour, and whether a word stands there
	for line != "" {
		word := strings.TrimLeft(line, " ")
		blanks := line[:len(line)-len(word)]
		if end := strings.IndexByte(word, ' '); end >= 0 {
			word = word[:end]
		}
		line = line[len(blanks)+len(word):]
		room := len(blanks) + columns(word)
		switch {
		case some && at+room > s.Columns():
			if lit != "" {
				b.WriteString("\x1b[0m")
			}
			b.WriteString("\n" + hang + lit + word)
			at = columns(hang) + columns(word)
		default:
			b.WriteString(blanks + word)
			at += room
		}
		some, lit = some || word != "" && at > len("* "), litBehind(lit, word)
	}
	return b.String()
}

// FoldBehind is Fold for a table's row and the words behind it: they have lines
// of their own where the row leaves too little room.
func (s Style) FoldBehind(row, words, hang string) string {
	if line := row + "  " + words; !s.Wrap || columns(line) <= s.Columns() {
		return line
	}
	return s.Fold(strings.TrimRight(row, " "), hang) + "\n" + s.Fold(hang+words, hang)
}

// nextSGR cuts a text at its first change of colour.
func nextSGR(text string) (before, sgr, after string) {
	start := strings.Index(text, "\x1b[")
	if start < 0 {
		return text, "", ""
	}
	end := strings.IndexByte(text[start:], 'm')
	if end < 0 {
		return text, "", ""
	}
	return text[:start], text[start : start+end+1], text[start+end+1:]
}

// columns is the room that a line takes.
func columns(line string) (n int) {
	for line != "" {
		before, _, after := nextSGR(line)
		n, line = n+len(before), after
	}
	return n
}

// litBehind is the colour behind a word that began in colour lit. What ends a
// colour has a number of 0, or from 20 to 29, first.
func litBehind(lit, word string) string {
	for word != "" {
		var sgr string
		if _, sgr, word = nextSGR(word); sgr == "" {
			break
		}
		params := sgr[2 : len(sgr)-1]
		if first, _, _ := strings.Cut(params, ";"); first == "" || first == "0" || len(first) == 2 && first[0] == '2' {
			lit = ""
		} else {
			lit += sgr
		}
	}
	return lit
}
