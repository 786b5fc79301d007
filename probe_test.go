package main

import (
	"bytes"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

func TestProbeInterruptedIsSilent(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	asked := make(chan struct{})
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool { close(asked); return true }, tunneltest.Hold)
	cmd := exec.CommandContext(t.Context(), "culvert", "probe", "--proxy", "http://"+proxy.Addr(), "example.com:22")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
	defer timer.Stop()
	select {
	case <-asked:
	case <-time.After(bound):
		t.Error("the proxy was not asked")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || out.Len() > 0 {
		t.Errorf("exit code %d, said %q; want 130 and nothing", code, out.String())
	}
}
