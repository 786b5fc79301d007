package tunnel

import (
	"html"
	"regexp"
	"strings"
)

// blockPages are what filters say on the pages with which they answer in another's
// stead, whatever status they give them: all the texts of a row, in lower case,
// are in the page's title or text. None is in the error pages of the same products.
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

// blockHeadings are titles and first headings that say it all, less what is around
// their letters.
var blockHeadings = [...]string{"web page blocked", "url blocked", "web site blocked", "website blocked"}

// isBlockPage reports whether a page says that it is there in a forbidden one's
// stead.
func isBlockPage(page string) bool {
	title := elementText(page, "title")
	for _, heading := range []string{title, elementText(page, "h1")} {
		heading = strings.ToLower(strings.Trim(heading, " !.:"))
		for _, h := range blockHeadings {
			if heading == h {
				return true
			}
		}
	}
	text := strings.ToLower(title + " " + excerptText([]byte(page), ""))
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

// passwordField is what a form has that somebody is to log in by.
var passwordField = regexp.MustCompile(`(?i)<input[^>]*\stype\s*=\s*["']?password\b`)

// isLoginPage reports whether a page has a form for a password.
func isLoginPage(page string) bool { return passwordField.MatchString(page) }

// elementText is the text of a page's first element of a name, on one line.
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
