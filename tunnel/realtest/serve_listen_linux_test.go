package realtest

import (
	"context"
	"os/exec"
	"strings"
	"testing"
)

// An address that the machine does not have yet, as at boot, is bound all the same, with
// a line that says so, and serves once it is there.
func TestServeOnAnAddressThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	needs(t, "unshare", "ip", "sh")
	if exec.Command("unshare", "-n", "true").Run() != nil {
		t.Skip("needs a network namespace")
	}
	for _, tt := range []struct{ listen, address, clients string }{
		{"198.18.0.9:3128", "198.18.0.9/32", "198.18.0.0/16"},
		{"[2001:db8::9]:3128", "2001:db8::9/128", "2001:db8::/32"},
	} {
		t.Run(tt.listen, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			// The log is read by grep, which ends with the line that it waits for.
			script := `set -e
				ip link set lo up
				mkfifo log
				"$0" serve --listen "$1" --allow-client "$3" 2>log & serve=$!
				exec 3<log
				grep -m 1 'not an address of this machine yet' <&3
				ip addr add "$2" dev lo nodad
				"$0" dial -x "http://$1" -- 127.0.0.1 2222 || echo "dial: $?"
				kill $serve
				wait $serve`
			cmd := exec.CommandContext(ctx, "unshare", "-n", "sh", "-c", script, culvert(t), tt.listen, tt.address, tt.clients)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			host, _, _ := strings.Cut(tt.address, "/")
			if err != nil || !strings.Contains(string(out), host+" is not an address of this machine yet") || !strings.Contains(string(out), "dial: 6\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
