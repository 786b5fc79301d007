package page

import (
	"html"
	"regexp"
	"strings"
)

// blockPages lists what filters say on the pages that they send instead of the page
// asked for, with whatever status. A page matches a row if all the row's texts, in
// lower case, are in its title or text. The error pages of the same products match
// none.
var blockPages = [...][]string{
	{"blocked in accordance with company policy"},    // Palo Alto Networks
	{"(policy_denied)"}, {"(content_filter_denied)"}, // Symantec ProxySG
	{"your system policy has denied access to the requested url"},
	{"zscaler", "permission to visit"}, {"zscaler", "you do not have permission"}, {"zscaler", "you don't have permission"}, {"zscaler", "not allowed to"},
	{"in violation of your internet usage policy"}, // FortiGuard
	{"fortiguard", "blocked"}, {"fortigate", "blocked"}, {"fortinet", "blocked"},
	{"mcafee web gateway", "blocked"}, {"skyhigh", "blocked"},
	{"sophos", "blocked"},
	{"forcepoint", "blocked"}, {"websense", "blocked"}, {"netskope", "blocked"},
	{"your organization's access policies", "has been blocked"}, // Cisco WSA
	{"cisco umbrella", "site is blocked"},
	{"barracuda", "has been blocked"}, {"sonicwall", "is blocked"}, {"denied by watchguard"},
	{"dansguardian", "access has been denied"}, {"e2guardian", "access has been denied"},
}

// blockHeadings lists titles and first headings of such pages, in lower case and
// without the punctuation around them.
var blockHeadings = [...]string{"web page blocked", "url blocked", "web site blocked", "website blocked"}

// IsBlockPage reports whether a page says that the page asked for is forbidden.
func (c Content) IsBlockPage() bool {
	page, title := string(c), c.Title()
	for _, heading := range []string{title, elementText(page, "h1")} {
		heading = strings.ToLower(strings.Trim(heading, " !.:"))
		for _, h := range blockHeadings {
			if heading == h {
				return true
			}
		}
	}
	text := strings.ToLower(title + " " + c.Text(""))
rows:
	for _, row := range blockPages {
		for _, words := range row {
			if !strings.Contains(text, words) {
				continue rows
			}
		}
		return true
	}
	return false
}

// passwordField matches the input element for a password.
var passwordField = regexp.MustCompile(`(?i)<input[^>]*\stype\s*=\s*["']?password\b`)

// IsLoginPage reports whether a page has a form for a password.
func (c Content) IsLoginPage() bool { return passwordField.Match(c) }

// Title returns the page's title on one line, not escaped.
func (c Content) Title() string { return elementText(string(c), "title") }

// elementText returns the text of a page's first element of that name, on one line.
func elementText(page, name string) string {
	i := indexFold(page, "<"+name)
	if i < 0 {
		return ""
	}
	tag, text, _ := strings.Cut(page[i+1+len(name):], ">")
	if tag != "" && tag[0] != ' ' { // a longer name
		return ""
	}
	if end := indexFold(text, "</"+name); end >= 0 {
		text = text[:end]
	}
	return strings.Join(strings.Fields(html.UnescapeString(htmlText(text))), " ")
}
