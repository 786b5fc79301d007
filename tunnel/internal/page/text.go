package page

import (
	"html"
	"strings"
	"unicode"
)

// Text returns the proxy's own words on one line, not escaped: of HTML only the
// text, with single spaces.
func (c Content) Text(contentType string) string {
	s := string(c)
	if strings.Contains(strings.ToLower(contentType), "html") || strings.HasPrefix(strings.TrimSpace(s), "<") {
		s = html.UnescapeString(htmlText(s))
	}
	return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
}

// htmlText removes tags, comments, and elements that hold no words for a reader.
// The title goes too: on error pages it only repeats the heading.
func htmlText(s string) string {
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(s, "<")
		b.WriteString(text)
		if !ok {
			return b.String()
		}
		b.WriteByte(' ')
		if comment, found := strings.CutPrefix(rest, "!--"); found {
			_, s, _ = strings.Cut(comment, "-->")
			continue
		}
		tag, after, _ := strings.Cut(rest, ">")
		s = after
		name, _, _ := strings.Cut(strings.ToLower(tag), " ")
		switch name {
		case "style", "script", "title", "head":
			s = afterElement(s, name)
		}
	}
}

// afterElement returns what follows the closing tag of name.
func afterElement(s, name string) string {
	i := indexFold(s, "</"+name)
	if i < 0 {
		return ""
	}
	_, after, _ := strings.Cut(s[i:], ">")
	return after
}

// indexFold is strings.Index for ASCII in any case. strings.ToLower could change
// the length of other text.
func indexFold(s, substr string) int {
	for i := 0; i+len(substr) <= len(s); i++ {
		if s[i]|0x20 == substr[0]|0x20 && strings.EqualFold(s[i:i+len(substr)], substr) {
			return i
		}
	}
	return -1
}
