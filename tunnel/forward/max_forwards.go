package forward

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"culvert/tunnel/internal/wire"
)

// answerHere answers a TRACE or OPTIONS request that must not be forwarded, and
// decrements Max-Forwards of one that may be (RFC 9110, section 7.6.2).
func (x *exchange) answerHere() (next Next, done bool) {
	value, _ := get(x.Head.Fields, "Max-Forwards")
	if value == "" || x.Head.Method != http.MethodTrace && x.Head.Method != http.MethodOptions {
		return 0, false
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, false // not a number: nothing to decrement
	}
	if n > 0 {
		x.maxForwards = strconv.FormatUint(n-1, 10)
		return 0, false
	}
	text, h := "", ReplyHead{Code: http.StatusOK, Reason: "OK", Content: true}
	if x.Head.Method == http.MethodTrace {
		text = string(x.traced())
		h.Fields = []wire.Field{{Name: "Content-Type", Value: "message/http"}}
	} else {
		h.Fields = []wire.Field{{Name: "Allow", Value: "CONNECT, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"}}
	}
	h.Length = int64(len(text))
	x.Record.Rule = "max-forwards"
	x.interim.close()
	return x.served(h.Code, x.write(&h, 1, strings.NewReader(text)), clientThere), true
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
