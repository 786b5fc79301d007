package tunnel_test

import (
	"context"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
	"fmt"
	"os"
	"strings"
)

// A Stdio is what the command is for ssh. Here it carries a line to a target
// that counts, and half-closes, and the count comes back.
func ExampleStdio() {
	target, err := tunneltest.Listen("tcp", "127.0.0.1:0", tunneltest.Count)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer target.Close()
	authority, err := tunnel.ParseTarget(target.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	direct := &tunnel.Client{}
	conn, err := direct.Open(context.Background(), authority)
	if err != nil {
		fmt.Println(err)
		return
	}
	stdio := tunnel.Stdio{Conn: conn, In: strings.NewReader("a line\n"), Out: os.Stdout}
	result, err := stdio.Relay()
	fmt.Println(result.Up, result.Down, err)
	// Output:
	// 7 bytes
	// 7 8 <nil>
}
