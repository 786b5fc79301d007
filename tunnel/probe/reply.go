package probe

import (
	"bufio"
	"bytes"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
)

// CheckReply says what a final reply to a CONNECT means, for callers that read it
// without a Client: nil for a tunnel, otherwise a *tunnel.Error such as a Client
// would return. head is the reply up to and with its blank line. behind holds the
// first bytes after it: a refusal's content, or what should be a tunnel to a target
// that was sent nothing.
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
