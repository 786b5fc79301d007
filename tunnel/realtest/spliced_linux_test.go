package realtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"culvert/tunnel/tunneltest"
)

// moved is a system call of strace's log that moved bytes, the second half of
// one included that another thread's call came between.
var moved = regexp.MustCompile(`(?m)\b(splice|recvfrom|sendto|read|write|readv|writev|sendmsg|recvmsg|sendfile)\b.* = (\d+)$`)

// Issue 3, "Proof": bulk goes by splice(2), in and out, as the kernel sees it.
func TestRealBulkIsSpliced(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	trace := filepath.Join(t.TempDir(), "trace")
	// -D makes serve this process's child, and strace nobody's.
	strace := []string{needs(t, "strace")[0], "-D", "-f", "-q", "-s", "0", "-o", trace,
		"-e", "trace=splice,recvfrom,sendto,read,write,readv,writev,sendmsg,recvmsg,sendfile", culvert(t)}
	p := startProxy(t, strace)
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	conn := mustOpen(t, p, echo)
	exchangeRandom(t, conn, size)
	p.closedTo(echo)
	p.end()
	var spliced, copied int64
	eventually(p, "strace has written its last", func() bool {
		text, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		spliced, copied = 0, 0
		for _, call := range moved.FindAllSubmatch(text, -1) {
			n, _ := strconv.ParseInt(string(call[2]), 10, 64)
			if string(call[1]) == "splice" {
				spliced += n
			} else {
				copied += n
			}
		}
		return regexp.MustCompile(`\+\+\+ exited with 0 \+\+\+\n$`).Match(text)
	})
	// Each byte goes into a pipe and out of it, both ways.
	t.Logf("%d bytes were spliced and %d copied", spliced, copied)
	if all := int64(4 * size); spliced < all/10*9 || spliced+copied < all {
		t.Errorf("of %d bytes in and out %d were spliced and %d copied", all, spliced, copied)
	}
}
