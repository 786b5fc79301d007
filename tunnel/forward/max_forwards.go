package forward

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// answerHere answers a TRACE or OPTIONS request that must not be forwarded, and
// decrements Max-Forwards of one that may be (RFC 9110, section 7.6.2).
func (x *exchange) answerHere() (next Next, done bool) {
	value := x.header.Get("Max-Forwards")
	if value == "" || x.Head.Method != http.MethodTrace && x.Head.Method != http.MethodOptions {
		return 0, false
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, false // not a number: nothing to decrement
	}
	if n > 0 {
		x.header.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
		return 0, false
	}
	reply := &http.Response{StatusCode: http.StatusOK, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody}
	if x.Head.Method == http.MethodTrace {
		text := x.traced()
		reply.Header.Set("Content-Type", "message/http")
		reply.ContentLength, reply.Body = int64(len(text)), io.NopCloser(bytes.NewReader(text))
	} else {
		reply.Header.Set("Allow", "CONNECT, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")
	}
	x.Record.Rule = "max-forwards"
	x.interim.close()
	return x.served(reply.StatusCode, x.respond(reply), clientThere), true
}

// traced returns the request's head as it came, without the fields that TRACE must not
// reveal (RFC 9110, section 9.3.8).
func (x *exchange) traced() []byte {
	var b bytes.Buffer
	b.WriteString(x.Head.Line + "\r\n")
	for _, f := range x.Head.Fields {
		if !strings.EqualFold(f.Name, "Proxy-Authorization") && !strings.EqualFold(f.Name, "Authorization") && !strings.EqualFold(f.Name, "Cookie") {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
