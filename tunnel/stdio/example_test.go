package stdio_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"
	"culvert/tunnel/tunneltest"
)

// A Tunnel connects ssh with its server. Here it carries a line to a target that counts
// bytes, half-closes, and gets the count back.
func ExampleTunnel() {
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
	direct := &client.Client{}
	conn, err := direct.Open(context.Background(), authority)
	if err != nil {
		fmt.Println(err)
		return
	}
	t := stdio.Tunnel{Conn: conn, In: strings.NewReader("a line\n"), Out: os.Stdout}
	result, err := t.Relay()
	fmt.Println(result.Up, result.Down, err)
	// Output:
	// 7 bytes
	// 7 8 <nil>
}
