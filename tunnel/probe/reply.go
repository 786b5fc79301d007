package probe

import (
	"bufio"
	"bytes"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
)

// CheckReply is what a final reply to a CONNECT comes to, for who reads it without
// a Client: nil for a tunnel, else an *Error as a Client would make it. head is the
// reply with its blank line; behind are the first bytes after it, of a refusal's
// content or of what should be a tunnel to a target that was sent nothing.
func CheckReply(head, behind []byte) error {
	reply, err := wire.ReadReply(bufio.NewReader(bytes.NewReader(head)), len(head)+1)
	if err != nil {
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Err: err}
	}
	if reply.Code/100 != 2 {
		return client.RefusalError(reply, behind)
	}
	if what := (&openTunnel{data: behind, glued: len(behind)}).page(reply); what != "" {
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: what + " instead of a tunnel"}
	}
	return nil
}
