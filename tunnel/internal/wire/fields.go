package wire

import "strings"

// addedFields is the room for fields that a proxy adds: Via, Date, and one more.
const addedFields = 3

// finish fills h with the head that was read.
func (r *reader) finish(h *Head) error {
	text := string(r.raw) // all other strings are substrings of it
	h.Raw = r.raw
	h.Line = text[r.start:r.line.end]
	h.AllLF = r.lf && !r.crlf
	first := r.line.end + strings.IndexByte(text[r.line.end:], '\n') + 1
	count := strings.Count(text[first:], "\n") - 1
	if r.request && count > maxFields {
		return r.fail(TooLarge, Flaw{}, "the head has too many field lines")
	}
	if count > 0 {
		list := fieldList{fields: r.fields}
		if cap(list.fields) < count {
			list.fields = make([]Field, 0, count+addedFields)
		}
		if err := r.parseFields(&list, text, first); err != nil {
			return err
		}
		h.Fields = list.fields
	}
	h.Flaws = r.flaws
	return nil
}

// parseFields parses the field lines from offset at through the blank line.
func (r *reader) parseFields(list *fieldList, text string, at int) error {
	for {
		end := at + strings.IndexByte(text[at:], '\n')
		line := strings.TrimSuffix(text[at:end], "\r")
		if line == "" {
			list.close()
			return nil
		}
		r.repaired = false
		if err := r.parseLine(list, line, at); err != nil {
			return err
		}
		if r.repaired && (framesMessage(line) || isBlank(line[0]) && list.open && framesMessage(list.fields[len(list.fields)-1].Name)) {
			r.note(DoubtfulFraming, at)
		}
		at = end + 1
	}
}

// framesMessage reports whether a reader that repairs a line might find a field in it
// that frames the message: what stands before a colon or whitespace, of which only the
// characters of tokens are looked at.
func framesMessage(line string) bool {
	var name []byte
	for i := 0; i < len(line) && len(name) <= len("Transfer-Encoding"); i++ {
		c := line[i]
		if len(name) > 0 && (c == ':' || isBlank(c)) {
			break
		}
		if isToken(c) {
			name = append(name, c)
		}
	}
	return equalFold(string(name), "Content-Length") || equalFold(string(name), "Transfer-Encoding")
}

// parseLine parses the field line that starts at offset at (RFC 9112, section 5).
func (r *reader) parseLine(list *fieldList, line string, at int) error {
	if isBlank(line[0]) {
		// RFC 9112, section 5.2: a folded line is refused in a request, and
		// joined by a space in a reply; section 2.2: before the first field it is
		// dropped.
		if err := r.flaw(ObsFold, at); err != nil {
			return err
		}
		value, err := r.parseValue(line, at)
		list.fold(value)
		return err
	}
	list.close()
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		if err := r.flaw(NoColon, at); err != nil {
			return err
		}
		_, err := r.parseValue(line, at)
		return err
	}
	name, err := r.parseName(line[:colon], at)
	if err != nil {
		return err
	}
	value, err := r.parseValue(line[colon+1:], at+colon+1)
	if name != "" {
		list.add(name, value)
	}
	return err
}

// parseName checks a field name and trims whitespace at its end.
func (r *reader) parseName(name string, at int) (string, error) {
	end := len(name)
	for end > 0 && isBlank(name[end-1]) {
		end--
	}
	for i := range end {
		kind := BadName
		switch {
		case isToken(name[i]):
			continue
		case name[i] == '\r':
			kind = BareCR
		}
		if err := r.flaw(kind, at+i); err != nil {
			return "", err
		}
	}
	if end < len(name) {
		// RFC 9112, section 5.1: refused in a request, removed from a reply.
		if err := r.flaw(SpaceBeforeColon, at+end); err != nil {
			return "", err
		}
	}
	if name == "" {
		return "", r.flaw(EmptyName, at)
	}
	return strings.ReplaceAll(name[:end], "\r", " "), nil
}

// parseValue checks a field value and trims it.
func (r *reader) parseValue(value string, at int) (string, error) {
	bareCR := false
	for i := range len(value) {
		if c := value[i]; !isControl(c) {
			continue
		} else if c == '\r' {
			bareCR = true
			if err := r.flaw(BareCR, at+i); err != nil {
				return "", err
			}
		} else if err := r.flaw(ControlChar, at+i); err != nil {
			return "", err
		}
	}
	if bareCR {
		value = strings.ReplaceAll(value, "\r", " ") // RFC 9112, section 2.2
	}
	return trimOWS(value), nil
}

// fieldList holds the fields parsed so far. Folded lines may still continue the last
// one.
type fieldList struct {
	fields []Field
	open   bool
	folded []byte // the value of the open field, if lines were folded
}

func (l *fieldList) add(name, value string) {
	l.fields = append(l.fields, Field{name, value})
	l.open = true
}

// fold appends a folded line to the open field, in a buffer, so that a field of
// thousands of lines is not copied thousands of times. Without an open field, the line
// that is continued had no name and was dropped, so this one is dropped too.
func (l *fieldList) fold(value string) {
	if !l.open || value == "" {
		return
	}
	if l.folded == nil {
		l.folded = append(l.folded, l.fields[len(l.fields)-1].Value...)
	}
	if len(l.folded) > 0 {
		l.folded = append(l.folded, ' ')
	}
	l.folded = append(l.folded, value...)
}

func (l *fieldList) close() {
	if l.folded != nil {
		l.fields[len(l.fields)-1].Value = string(l.folded)
	}
	l.open, l.folded = false, nil
}
