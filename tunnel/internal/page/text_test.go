package page

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ name, contentType, body, want string }{
		{"text", "text/plain", " not\r\n  allowed \n", "not allowed"},
		{"angle brackets in text", "text/plain", "a < b", "a < b"},
		{"page", "text/html", "<html><head><title>T</title></head><body><h1>No</h1>\n<p>not&nbsp;<b>allowed</b></p></body>", "No not allowed"},
		{"page by its looks", "", "<!DOCTYPE html><p>no", "no"},
		{"style and script", "text/HTML; charset=x", "<STYLE type=a>p{}</STYLE>a<script>b()</script>c", "a c"},
		{"comment", "text/html", "a<!-- <p>b -->c", "a c"},
		{"tag without end", "text/html", "a<p b", "a"},
		{"script without end", "text/html", "a<script>b", "a"},
		{"bytes that grow in lower case", "text/html", "<style>" + strings.Repeat("\xff\u0130", 20) + "</Style>a", "a"},
		{"empty", "text/html", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Content(tt.body).Text(tt.contentType); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
