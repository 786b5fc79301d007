package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"culvert/tunnel/explain"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a conversation in frames of HTTP/2, on a connection of its own, for what a
// Client never sends. It is kept as text, a line for each field.
type frames struct {
	*talk
	framer *http2.Framer
}

// h2Answer is how the proxy answered a stream.
type h2Answer struct {
	status int // 0 = none came
	fields []hpack.HeaderField
	ended  string // how the stream ended instead
	late   bool   // neither an answer nor an end came in time
}

// field returns a field of a request.
func field(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }

// authority returns the field :authority.
func authority(value string) hpack.HeaderField { return field(":authority", value) }

// frames connects to the proxy, by prior knowledge if there is no TLS, and sends the
// preface.
func (t *trial) frames() *frames {
	conn, err := t.Client.OpenProxy(t.ctx, http2.NextProtoTLS)
	if err != nil {
		sentence, _ := explain.Error(err)
		t.skip("%s", sentence)
	}
	t.conns = append(t.conns, conn)
	_ = conn.SetDeadline(time.Now().Add(t.Patience))
	f := &frames{&talk{trial: t, conn: conn, got: &keeper{}}, http2.NewFramer(conn, conn)}
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	t.talks = append(t.talks, f.talk)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = f.framer.WriteSettings()
	return f
}

// h2Connect asks for a tunnel on the first stream of a connection, with the proxy's
// credentials, and returns the answer.
func (t *trial) h2Connect(fields ...hpack.HeaderField) h2Answer {
	if t.login != nil {
		value := t.authorization(http.MethodConnect, t.fill("{target}"))
		fields = append(fields[:len(fields):len(fields)], field("proxy-authorization", value))
	}
	return t.frames().ask(fields)
}

// ask sends a CONNECT with the fields on the first stream, and returns the answer.
func (f *frames) ask(fields []hpack.HeaderField) h2Answer {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	f.sent = []byte("HEADERS, stream 1\r\n")
	for _, h := range append([]hpack.HeaderField{field(":method", "CONNECT")}, fields...) {
		h.Value = f.fill(h.Value)
		_ = encoder.WriteField(h)
		f.sent = fmt.Appendf(f.sent, "%s: %s\r\n", h.Name, h.Value)
	}
	_ = f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for {
		frame, err := f.framer.ReadFrame()
		var malformed http2.StreamError
		switch {
		case errors.As(err, &malformed):
			f.fail("the answer's head is malformed: %s", malformed.Error())
		case err != nil:
			return h2Answer{ended: reason(err), late: timedOut(err)}
		}
		if a, over := f.handle(frame); over {
			return a
		}
	}
}

// handle acts on a frame, and reports whether it is the answer to the first stream.
func (f *frames) handle(frame http2.Frame) (a h2Answer, over bool) {
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			_ = f.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = f.framer.WritePing(true, frame.Data)
		}
	case *http2.MetaHeadersFrame:
		if frame.StreamID != 1 {
			break
		}
		f.keep("HEADERS, stream 1")
		for _, h := range frame.Fields {
			f.keep(h.Name + ": " + h.Value)
		}
		code, _ := strconv.Atoi(frame.PseudoValue("status"))
		return h2Answer{status: code, fields: frame.Fields}, code >= 200
	case *http2.RSTStreamFrame:
		f.keep("RST_STREAM " + frame.ErrCode.String())
		return h2Answer{ended: "the stream was reset with " + frame.ErrCode.String()}, frame.StreamID == 1
	case *http2.GoAwayFrame:
		f.keep("GOAWAY " + frame.ErrCode.String())
		return h2Answer{ended: "the connection was given up with " + frame.ErrCode.String()}, frame.ErrCode != http2.ErrCodeNo
	}
	return h2Answer{}, false
}

// keep adds a line to the text that is kept.
func (f *frames) keep(text string) {
	text += "\r\n"
	f.got.kept = append(f.got.kept, text[:min(len(text), maxKept-len(f.got.kept))]...)
}

// h2Opened opens a tunnel by a valid CONNECT. It skips the check if that fails.
func (t *trial) h2Opened() h2Answer {
	a := t.h2Connect(authority("{target}"))
	if a.status/100 != 2 {
		t.skip("a CONNECT in frames of our own opens no tunnel: %s", a)
	}
	return a
}

// String returns the answer for a person.
func (a h2Answer) String() string {
	if a.status == 0 {
		return a.ended
	}
	return fmt.Sprintf(":status %d", a.status)
}

// h2Lacks returns a try that fails if the 2xx has one of the fields.
func h2Lacks(names ...string) func(*trial) {
	return func(t *trial) {
		t.target.serve(echo)
		for _, h := range t.h2Opened().fields {
			for _, name := range names {
				if h.Name == name {
					t.fail("%s: %q", h.Name, h.Value)
				}
			}
		}
	}
}

// h2Malformed returns a try that wants a CONNECT with the fields to be a stream error,
// or refused (RFC 9113, section 8.1.1).
func h2Malformed(fields ...hpack.HeaderField) func(*trial) {
	return func(t *trial) {
		t.target.serve(echo)
		t.h2Opened()
		switch a := t.h2Connect(fields...); {
		case a.late:
			t.warn("it was neither refused nor taken: nothing came in time")
		case a.status/100 == 2:
			t.fail("a tunnel was opened: %s", a)
		case a.status >= 500:
			t.warn("refused, but not as malformed: %s", a)
		default:
			t.pass("%s", a)
		}
	}
}

func h2Asks407(t *trial) {
	if t.login == nil {
		t.skip("the audit has no credentials to leave out")
	}
	t.target.serve(echo)
	a := t.frames().ask([]hpack.HeaderField{authority("{target}")})
	challenged := false
	for _, h := range a.fields {
		challenged = challenged || h.Name == "proxy-authenticate"
	}
	switch {
	case a.status/100 == 2:
		t.skip("the proxy wants no credentials")
	case a.status != 407 || !challenged:
		t.fail("%s, with Proxy-Authenticate: %t", a, challenged)
	}
}
