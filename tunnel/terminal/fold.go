package terminal

import "strings"

// Fold breaks a line at spaces so that each part fits Width, if Wrap is set. Every
// further line begins with hang. A word that is too wide stays whole. Colours (SGR,
// ECMA-48, section 8.3.117) take no columns; they are switched off before a line
// break and on again after hang.
func (s Style) Fold(line, hang string) string {
	if !s.Wrap || columns(line) <= s.Columns() {
		return line
	}
	var b strings.Builder
	at, colour, begun := 0, "", false // columns used, the colour in force, and whether there is a word before a break
	for line != "" {
		word := strings.TrimLeft(line, " ")
		blanks := line[:len(line)-len(word)]
		if end := strings.IndexByte(word, ' '); end >= 0 {
			word = word[:end]
		}
		line = line[len(blanks)+len(word):]
		room := len(blanks) + columns(word)
		switch {
		case begun && at+room > s.Columns():
			if colour != "" {
				b.WriteString("\x1b[0m")
			}
			b.WriteString("\n" + hang + colour + word)
			at = columns(hang) + columns(word)
		default:
			b.WriteString(blanks + word)
			at += room
		}
		begun, colour = begun || word != "" && at > len("* "), colourAfter(colour, word)
	}
	return b.String()
}

// FoldRow folds a row of a table and the words that follow it. If the words do not
// fit on the row's line, they begin a line of their own.
func (s Style) FoldRow(row, words, hang string) string {
	if line := row + "  " + words; !s.Wrap || columns(line) <= s.Columns() {
		return line
	}
	return s.Fold(strings.TrimRight(row, " "), hang) + "\n" + s.Fold(hang+words, hang)
}

// nextSGR splits text at its first change of colour.
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

// columns returns the number of columns that a line takes on a terminal.
func columns(line string) (n int) {
	for line != "" {
		before, _, after := nextSGR(line)
		n, line = n+len(before), after
	}
	return n
}

// colourAfter returns the colour in force after word, which began in colour. A
// sequence that switches a colour off begins with 0, or with 20 to 29.
func colourAfter(colour, word string) string {
	for word != "" {
		var sgr string
		if _, sgr, word = nextSGR(word); sgr == "" {
			break
		}
		params := sgr[2 : len(sgr)-1]
		if first, _, _ := strings.Cut(params, ";"); first == "" || first == "0" || len(first) == 2 && first[0] == '2' {
			colour = ""
		} else {
			colour += sgr
		}
	}
	return colour
}
