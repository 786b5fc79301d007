//go:build unix

package serve

import (
	"os"
	"os/signal"
	"syscall"
)

func notifyReload(s ReloadSignals) {
	signal.Notify(s.hangup, syscall.SIGHUP)
	signal.Notify(s.reopen, syscall.SIGUSR1)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR2)
}
